//! Packets from bytes and back: `cargo bench --bench codec`.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use gearshard::protocol::decode::{Frame, decode};
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic};

const HANDLE: &[u8] = b"H:host:1795240000123456";
const UNIQUE: &[u8] = b"b4c6f1de-2a55-4b0e-9d1f-7a3c";

fn main() {
    divan::main();
}

fn submit(payload: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, Magic::Request, Command::SubmitJob, &[b"reverse", UNIQUE], &vec![7; payload]);
    bytes
}

#[divan::bench(args = [0, 64, 4096])]
fn decode_submit_job(bencher: Bencher<'_, '_>, payload: usize) {
    let bytes = submit(payload);
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| decode(black_box(&bytes), u32::MAX));
}

#[divan::bench]
fn decode_grab_job(bencher: Bencher<'_, '_>) {
    let mut bytes = Vec::new();
    encode(&mut bytes, Magic::Request, Command::GrabJobUniq, &[], &[]);
    bencher.bench(|| decode(black_box(&bytes), u32::MAX));
}

#[divan::bench]
fn decode_hundred_pipelined_submits(bencher: Bencher<'_, '_>) {
    let bytes = submit(64).repeat(100);
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| {
        let mut at = 0;
        while let Ok(Some((Frame::Binary(packet), length))) = decode(black_box(&bytes[at..]), u32::MAX) {
            black_box(packet);
            at += length;
        }
        assert_eq!(at, bytes.len());
    });
}

#[divan::bench]
fn decode_status_line() -> usize {
    match decode(black_box(b"status\r\n"), u32::MAX) {
        Ok(Some((Frame::Line(line), _))) => line.len(),
        other => panic!("{other:?}"),
    }
}

#[divan::bench]
fn encode_job_created(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        encode(&mut out, Magic::Response, Command::JobCreated, &[black_box(HANDLE)], &[]);
        out.len()
    });
}

#[divan::bench(args = [0, 64, 4096])]
fn encode_job_assign_uniq(bencher: Bencher<'_, '_>, payload: usize) {
    let payload = vec![7; payload];
    let mut out = Vec::with_capacity(8192);
    bencher.bench_local(|| {
        out.clear();
        let args: [&[u8]; 3] = [black_box(HANDLE), b"reverse", UNIQUE];
        encode(&mut out, Magic::Response, Command::JobAssignUniq, &args, black_box(&payload));
        out.len()
    });
}
