//! Cutting a failing script down, and telling people about it.

use super::pair::{Pair, Trouble};
use super::script::{Step, Who};
use super::{Failure, Setup};
use std::fmt::Write;

/// How often a script is played to find a shorter one: often when servers
/// differ, seldom when one hangs, as each of those attempts takes long.
const ATTEMPTS_MAX: [usize; 2] = [400, 6];

/// The whole story of a failure, with the shortest script that shows it.
pub fn report(failure: Failure) -> String {
    let Failure { seed, name, setup, steps, trouble } = failure;
    let mut text = format!("script {seed} ({setup:?}), step {}:\n", steps.len());
    print(&mut text, &steps, &trouble);
    let (short, trouble) = shrink(setup, &name, steps);
    match trouble {
        Some(trouble) => {
            let _ = writeln!(text, "cut down to {} steps:", short.len());
            print(&mut text, &short, &trouble);
        }
        None => text.push_str("played again, it does not fail: this depends on timing\n"),
    }
    let _ = writeln!(
        text,
        "replay: DIFFERENTIAL_SEED={seed} cargo test --test differential both_servers -- --nocapture"
    );
    text
}

fn print(text: &mut String, steps: &[Step], trouble: &Trouble) {
    for step in steps {
        let _ = writeln!(text, "  {step}");
    }
    match trouble {
        Trouble::Differ(both) => text.push_str(both),
        Trouble::Reference(what) => {
            let _ = writeln!(text, "    gearmand: {what}");
        }
        Trouble::Ours(what) => {
            let _ = writeln!(text, "    gearshard: {what}");
        }
    }
}

// Drops steps, from the back, for as long as some difference stays.
fn shrink(setup: Setup, name: &str, mut steps: Vec<Step>) -> (Vec<Step>, Option<Trouble>) {
    let mut bench = Bench { setup, name, pair: setup.start(), trials: 0 };
    let Some(mut trouble) = bench.fails(&steps) else {
        return (steps, None);
    };
    let attempts_max = ATTEMPTS_MAX[usize::from(!matches!(trouble, Trouble::Differ(_)))];
    let mut cut = true;
    while cut && bench.trials < attempts_max {
        cut = false;
        let mut index = steps.len();
        while index > 0 && bench.trials < attempts_max {
            index -= 1;
            let Some(shorter) = without(&steps, index) else { continue };
            if let Some(found) = bench.fails(&shorter) {
                steps = shorter;
                trouble = found;
                cut = true;
                index = index.min(steps.len());
            }
        }
    }
    (steps, Some(trouble))
}

// Connections are numbered in the order in which they open, so opening stays
// unless nobody else uses the connection or a later one.
fn without(steps: &[Step], index: usize) -> Option<Vec<Step>> {
    let mut shorter = steps.to_vec();
    let Step::Open(gone) = shorter.remove(index) else {
        return Some(shorter);
    };
    for step in &mut shorter {
        let who = match step {
            Step::Open(who) | Step::Close(who) | Step::Send { who, .. } => who,
        };
        if *who == gone {
            return None;
        }
        if *who > gone {
            *who = Who(who.0 - 1);
        }
    }
    Some(shorter)
}

struct Bench<'a> {
    setup: Setup,
    name: &'a str,
    pair: Pair,
    trials: usize,
}

impl Bench<'_> {
    // A script leaves jobs behind, and its names are part of its steps: each attempt has new servers.
    fn fails(&mut self, steps: &[Step]) -> Option<Trouble> {
        self.trials += 1;
        self.pair = self.setup.start();
        self.pair.begin(self.name);
        steps.iter().find_map(|step| self.pair.play(step).err())
    }
}
