//! Instructions of the core's works beside `benches/budgets.toml`:
//! `cargo test --profile checked --test budgets`.
//!
//! Fails when a work takes more than its budget, and when it takes so much
//! less that the budget guards nothing any more. `-- --write` puts what is
//! counted now into the file.

#[path = "../benches/callgrind/mod.rs"]
mod callgrind;
#[allow(dead_code, reason = "the benchmarks use the rest")]
#[path = "../benches/mesh/mod.rs"]
mod mesh;
#[path = "../benches/works/mod.rs"]
mod works;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use callgrind::Callgrind;
use works::{WORKS, Work};

/// The name by which this one test is asked for.
const TEST: &str = "instructions_stay_within_budgets";

const WRITE_COMMAND: &str = "cargo test --profile checked --test budgets -- --write";

/// What `benches/budgets.toml` says.
struct Budgets {
    /// Percent above its budget at which a work fails.
    tolerance_percent: u64,
    /// Percent below its budget at which a budget is stale.
    stale_percent: u64,
    /// By name of the work.
    instructions: BTreeMap<String, u64>,
}

/// How a count stands to its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Within,
    Exceeded,
    Stale,
    Missing,
}

fn main() -> ExitCode {
    if callgrind::is_counted(&WORKS) {
        return ExitCode::SUCCESS;
    }
    let result = match Wanted::from_args(std::env::args().skip(1)) {
        Wanted::Nothing => Ok(()),
        Wanted::List => {
            eprintln!("{TEST}: test");
            Ok(())
        }
        Wanted::Test => judging_is_right().and_then(|()| test()),
        Wanted::Write => write(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("\n{TEST} FAILED\n{problem}");
            ExitCode::FAILURE
        }
    }
}

/// What the arguments ask for; they are those of the usual test harness, and `--write`.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Test,
    Write,
    List,
    Nothing,
}

impl Wanted {
    fn from_args(args: impl Iterator<Item = String>) -> Self {
        let (options, filters): (Vec<_>, Vec<_>) = args.partition(|arg| arg.starts_with('-'));
        let given = |option: &str| options.iter().any(|given| given == option);
        if given("--write") {
            Self::Write
        } else if given("--list") {
            Self::List
        } else if given("--ignored") || !(filters.is_empty() || filters.iter().any(|f| TEST.contains(&f[..])))
        {
            Self::Nothing
        } else {
            Self::Test
        }
    }
}

fn test() -> Result<(), String> {
    if !cfg!(debug_assertions) {
        return Err(format!(
            "budgets are of profile `checked`: {}",
            WRITE_COMMAND.replace(" -- --write", "")
        ));
    }
    let budgets = Budgets::parse(&read()?)?;
    let counts = count_all()?;
    let mut table = String::new();
    let mut failed = 0;
    for (work, count) in &counts {
        let budget = budgets.instructions.get(work.name).copied();
        let verdict = budgets.judge(budget, *count);
        failed += u32::from(verdict != Verdict::Within);
        line(&mut table, work, *count, budget, verdict);
    }
    let unknown: Vec<_> =
        budgets.instructions.keys().filter(|name| WORKS.iter().all(|work| work.name != **name)).collect();
    eprintln!("{table}");
    if failed == 0 && unknown.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{failed} of {} works are off their budgets; budgets of no work: {unknown:?}\n\
         If that is as it should be: {WRITE_COMMAND}\n\
         Where the instructions go: callgrind_annotate {}",
        counts.len(),
        Callgrind::unpacked()?.report(&WORKS[0]).with_file_name("WORK").display(),
    ))
}

fn write() -> Result<(), String> {
    let mut budgets = Budgets::parse(&read()?)?;
    budgets.instructions =
        count_all()?.into_iter().map(|(work, count)| (work.name.to_owned(), count)).collect();
    std::fs::write(path(), budgets.text()).map_err(|error| format!("{}: {error}", path().display()))?;
    eprintln!("{}", budgets.text());
    Ok(())
}

/// Counts every work, two at a time.
fn count_all() -> Result<Vec<(&'static Work, u64)>, String> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Err("budgets are of x86_64 Linux; elsewhere: cargo bench --bench instructions".to_owned());
    }
    let callgrind = Callgrind::unpacked()?;
    let (first, second) = WORKS.split_at(WORKS.len() / 2);
    let count = |works: &'static [Work]| -> Result<Vec<_>, String> {
        works.iter().map(|work| Ok((work, callgrind.count(work)?))).collect()
    };
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| count(second));
        (count(first), other.join().expect("counting does not panic"))
    });
    Ok([first?, second?].concat())
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/budgets.toml")
}

fn read() -> Result<String, String> {
    std::fs::read_to_string(path()).map_err(|error| format!("{}: {error}", path().display()))
}

fn line(table: &mut String, work: &Work, count: u64, budget: Option<u64>, verdict: Verdict) {
    let budget_text = budget.map_or_else(|| "none".to_owned(), |budget| budget.to_string());
    let off = budget.filter(|&budget| budget > 0).map_or_else(String::new, |budget| {
        let percent = (count as f64 - budget as f64) * 100.0 / budget as f64;
        format!("{percent:+.1} %")
    });
    let word = match verdict {
        Verdict::Within => "",
        Verdict::Exceeded => "EXCEEDED",
        Verdict::Stale => "STALE: set it to what is counted now",
        Verdict::Missing => "HAS NO BUDGET",
    };
    let text = format!("{:34} {count:7} instructions, budget {budget_text:>7} {off:>8}  {word}", work.name);
    writeln!(table, "{}", text.trim_end()).expect("text can be added to text");
}

impl Budgets {
    /// Reads the few kinds of lines that the file has: sections, and names with whole numbers.
    fn parse(text: &str) -> Result<Self, String> {
        let mut sections: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        let mut section = String::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let bad = || format!("{}:{}: not `name = number`: {line}", path().display(), at + 1);
            if line.is_empty() {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
                continue;
            }
            let (name, number) = line.split_once('=').ok_or_else(bad)?;
            let number = number.trim().parse().map_err(|_| bad())?;
            if sections.entry(section.clone()).or_default().insert(name.trim().to_owned(), number).is_some() {
                return Err(format!("{}:{}: said twice: {line}", path().display(), at + 1));
            }
        }
        let limit = |name: &str| {
            let limit = sections.get("limits").and_then(|limits| limits.get(name)).copied();
            limit.ok_or_else(|| format!("{}: [limits] lacks {name}", path().display()))
        };
        Ok(Self {
            tolerance_percent: limit("tolerance_percent")?,
            stale_percent: limit("stale_percent")?,
            instructions: sections.get("instructions").cloned().unwrap_or_default(),
        })
    }

    /// The whole file.
    fn text(&self) -> String {
        let mut text = format!(
            "# Instructions that one round of each work in benches/works may take: profile `checked`, x86_64,\n\
             # Debian 12's C library. Written by: {WRITE_COMMAND}\n\n\
             [limits]\n\
             # More than this above its budget, and a work fails.\n\
             tolerance_percent = {}\n\
             # More than this below, and the budget guards nothing: write it anew.\n\
             stale_percent = {}\n\n[instructions]\n",
            self.tolerance_percent, self.stale_percent,
        );
        for work in &WORKS {
            if let Some(count) = self.instructions.get(work.name) {
                writeln!(text, "{} = {count}", work.name).expect("text can be added to text");
            }
        }
        text
    }

    fn judge(&self, budget: Option<u64>, count: u64) -> Verdict {
        match budget {
            None => Verdict::Missing,
            Some(budget) if count * 100 > budget * (100 + self.tolerance_percent) => Verdict::Exceeded,
            Some(budget) if count * 100 < budget * 100_u64.saturating_sub(self.stale_percent) => {
                Verdict::Stale
            }
            Some(_) => Verdict::Within,
        }
    }
}

/// This file has no harness, so it checks itself before it judges others.
fn judging_is_right() -> Result<(), String> {
    let text =
        "# a word\n[limits]\ntolerance_percent = 3\nstale_percent = 15 # more\n[instructions]\na-b = 1000\n";
    let budgets = Budgets::parse(text)?;
    for (count, verdict) in [
        (850, Verdict::Within),
        (849, Verdict::Stale),
        (1000, Verdict::Within),
        (1030, Verdict::Within),
        (1031, Verdict::Exceeded),
    ] {
        assert_eq!(budgets.judge(budgets.instructions.get("a-b").copied(), count), verdict, "{count}");
    }
    assert_eq!(budgets.judge(None, 1), Verdict::Missing);
    for bad in ["[limits]\ntolerance_percent = 3\n", "x\n", "x = y\n", "x = 1\nx = 1\n"] {
        assert!(Budgets::parse(bad).is_err(), "{bad:?}");
    }
    let args = |args: &[&str]| Wanted::from_args(args.iter().map(|arg| (*arg).to_owned()));
    assert_eq!(args(&["--test-threads=1"]), Wanted::Test);
    assert_eq!(args(&["budgets", "--nocapture"]), Wanted::Test);
    assert_eq!(args(&["something_else"]), Wanted::Nothing);
    Ok(())
}
