//! What is written is what is read.

use gearshard::queue::job::Priority;
use gearshard::storage::rows::{Key, Row};

use super::support::databases::{Sql, shared};
use super::{all, for_both, key, open, refusal, row, rows};

for_both!(
    every_byte_comes_back_in_order
    a_row_takes_the_place_of_one_with_the_same_key
    a_batch_of_thousands_is_kept_and_taken_out
    a_refused_batch_changes_nothing
    large_workloads_are_kept
);

fn every_byte_comes_back_in_order(sql: Sql) {
    let database = shared(sql);
    let name = database.create();
    let mut engine = open(&database, &name);
    let every_byte: Vec<u8> = (0..=255).collect();
    let long_key = "k".repeat(64);
    let long_function = "f".repeat(255);
    let written = [
        row("a", "f", &every_byte),
        row("", "f", b""),
        Row { priority: Priority::High, ..row("ünique", "fünc", b"\0\0") },
        Row {
            priority: Priority::Low,
            not_before_s: 1 << 33,
            ..row(&long_key, &long_function, b"'\\\"; --")
        },
        row("A", "f", b"1"),
        row("a ", "f", b"2"),
        row("a", "F", b"3"),
        row("a\\N\tb\n", "f", b"\\x41"),
    ];
    for row in &written {
        engine.holds(row).unwrap();
    }
    engine.apply(&written, &[]).unwrap();
    assert_eq!(rows(&mut *engine), written);
    // Each alone, the last first.
    for (count, row) in written.iter().enumerate().rev() {
        engine.apply(&[], &[Key { key: (&*row.key).into(), function: (&*row.function).into() }]).unwrap();
        assert_eq!(rows(&mut *engine), written[..count]);
    }
}

fn a_row_takes_the_place_of_one_with_the_same_key(sql: Sql) {
    let database = shared(sql);
    let name = database.create();
    let mut engine = open(&database, &name);
    let first = [row("a", "f", b"1"), row("b", "f", b"2")];
    engine.apply(&first, &[]).unwrap();
    // As after a connection that broke before the answer came.
    engine.apply(&first, &[]).unwrap();
    assert_eq!(rows(&mut *engine), first);
    engine.apply(&[row("a", "f", b"3")], &[key("a", "f"), key("b", "f"), key("none", "f")]).unwrap();
    assert_eq!(rows(&mut *engine), [row("a", "f", b"3")]);
    engine.apply(&[], &[key("a", "g"), key("b", "f")]).unwrap();
    assert_eq!(rows(&mut *engine), [row("a", "f", b"3")]);
    engine.apply(&[], &[]).unwrap();
}

fn a_batch_of_thousands_is_kept_and_taken_out(sql: Sql) {
    const ROWS: usize = 20_000;
    let database = shared(sql);
    let name = database.create();
    let mut engine = open(&database, &name);
    let keys: Vec<String> = (0..ROWS).map(|number| format!("key-{number}")).collect();
    let written: Vec<Row<'_>> = keys.iter().map(|key| row(key, "f", key.as_bytes())).collect();
    engine.apply(&written[..ROWS / 2], &[]).unwrap();
    let gone: Vec<Key> = keys[..ROWS / 2 - 1].iter().map(|one| key(one, "f")).collect();
    engine.apply(&written[ROWS / 2..], &gone).unwrap();
    let mut left = rows(&mut *engine);
    // Where others were deleted a server may put the next ones.
    left.sort_by_key(|row| row.key[4..].escape_ascii().to_string().parse::<usize>().unwrap());
    assert_eq!(left, written[ROWS / 2 - 1..]);
}

fn a_refused_batch_changes_nothing(sql: Sql) {
    let database = shared(sql);
    let name = database.create();
    let mut engine = open(&database, &name);
    engine.apply(&[row("old", "f", b"1")], &[]).unwrap();
    let keys: Vec<String> = (0..10_000).map(|number| format!("key-{number}")).collect();
    let mut batch: Vec<Row<'_>> = keys.iter().map(|key| row(key, "f", b"2")).collect();
    let too_long = "k".repeat(65);
    batch.push(row(&too_long, "f", b"3"));
    assert!(engine.holds(&batch[10_000]).unwrap_err().contains("unique_key"));
    // The server has to say it itself, after thousands that it has taken.
    let said = refusal(engine.apply(&batch, &[key("old", "f")]));
    assert!(said.contains("too long") || said.contains("Too long"), "{said}");
    assert_eq!(rows(&mut *engine), [row("old", "f", b"1")]);
    engine.apply(&batch[..2], &[]).unwrap();
    assert_eq!(all(&mut *engine).0.len(), 3);
}

fn large_workloads_are_kept(sql: Sql) {
    let database = shared(sql);
    let name = database.create();
    let mut engine = open(&database, &name);
    let data: Vec<u8> = (0_u32..15 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let written = [row("a", "f", &data), row("b", "f", b"small"), row("c", "f", &data[1..])];
    for row in &written {
        engine.holds(row).unwrap();
    }
    engine.apply(&written, &[]).unwrap();
    assert!(rows(&mut *engine) == written, "another workload came back");
    engine.apply(&[], &[key("a", "f"), key("c", "f")]).unwrap();
    assert_eq!(rows(&mut *engine), written[1..2]);
}
