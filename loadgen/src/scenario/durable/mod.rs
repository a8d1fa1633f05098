//! What survives: background jobs are submitted, the server is killed and started
//! again, and every job that it had acknowledged must still run, as it was submitted.

mod audit;
mod books;
mod client;
mod course;
mod lives;
mod victim;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use self::books::{Books, Sums};
use self::course::Course;
use self::victim::Victim;
use super::fg::names;
use super::length::Length;
use super::mixed::{KIND_SALT, SIZE_SALT, Weighted, sizes};
use super::{Measure, new_run};
use crate::abort::Abort;
use crate::engine::fleet::{Extent, Target};
use crate::engine::plan::{Kind, Level, Picks};
use crate::engine::run::Run;
use crate::options::values::{count, positive};
use crate::options::{Clients, Common, Names, Workers};
use crate::report::Report;
use crate::report::units::command;
use crate::server::Server;
use crate::server::line::{Line, unlabelled};

/// `durable`
#[derive(Args, Debug)]
pub(crate) struct Durable {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Start this server, kill it with SIGKILL and start it again, instead of taking the one at --server:
    /// 'gearmand -q libsqlite3 --libsqlite3-db=queue.db'. NAME=VALUE words in front of the program become its
    /// environment; {port} becomes its port. gearshard and gearmand without {port} get --listen and --port
    /// (gearmand, when we are root, --user=nobody)
    #[arg(long, value_name = "COMMAND", value_parser = unlabelled, conflicts_with_all = ["server", "server_pid"], help_heading = "Server")]
    pub(crate) start: Option<Line>,
    /// Directory that the started server runs in, with its store, if that has no other place, and its output; it is
    /// kept. Without it a new one, which is gone at the end
    #[arg(long, value_name = "DIRECTORY", requires = "start", help_heading = "Server")]
    pub(crate) dir: Option<PathBuf>,
    /// Shell command that kills the server at --server, if somebody else starts that again: 'systemctl kill -s KILL gearmand'
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["start", "dir", "server_pid"], help_heading = "Server")]
    pub(crate) crash: Option<String>,
    /// How often the server is killed under load, at moments by chance; once more at the end, after which nothing may
    /// come back. 0 only measures how fast jobs are acknowledged. The default is 10 with --start or --crash, or 0
    #[arg(long, value_name = "N", help_heading = "Kills")]
    pub(crate) cycles: Option<u32>,
    /// Where chance begins; the same number gives the same moments
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Kills")]
    pub(crate) seed: u64,
    /// Allow jobs to run again that ended less than so many milliseconds before a kill. A job has ended when the server
    /// has answered something that the worker asked behind the result. 0 allows those only that had not ended
    #[arg(long, value_name = "MS", default_value = "0", value_parser = count, help_heading = "Kills")]
    pub(crate) unsynced: u64,
    #[command(flatten)]
    pub(crate) names: Names,
    /// Functions; jobs go to each of them in turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = positive, help_heading = "Jobs")]
    pub(crate) functions: u32,
    /// Bytes of payload and their weights, each size at least 16
    #[arg(long, value_name = "BYTES:WEIGHT,...", default_value = "16:1,64:8,5k:1", value_parser = sizes, help_heading = "Jobs")]
    pub(crate) sizes: Weighted<usize>,
    #[command(flatten)]
    pub(crate) clients: Clients,
    #[command(flatten)]
    pub(crate) workers: Workers,
    /// When jobs are run beside the clients; all that is left is run at the end
    #[arg(long, value_enum, default_value = "turns", help_heading = "Clients and workers")]
    pub(crate) work: Work,
    #[command(flatten)]
    pub(crate) length: Length,
}

/// When there are workers beside the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Work {
    /// Between every second pair of kills, not at first: jobs pile up, and outlive more than one kill.
    Turns,
    /// Always.
    Always,
    /// Only at the end: every job waits through all kills that follow it.
    Last,
}

impl Work {
    /// Whether there are in the life with this number.
    const fn beside(self, life: usize) -> bool {
        match self {
            Self::Turns => life % 2 == 1,
            Self::Always => true,
            Self::Last => false,
        }
    }
}

/// Kills when it is not said how many.
const CYCLES: u32 = 10;

impl Measure for Durable {
    fn common(&self) -> &Common {
        &self.common
    }

    fn starts(&self) -> Result<Option<String>, Abort> {
        self.cycles()?;
        Ok(self.start.as_ref().map(|line| command(&line.words())))
    }

    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        let cycles = self.cycles()?;
        let victim = self.victim(target)?;
        let run = Arc::new(self.plan());
        let books = Arc::new(Books::open(Duration::from_millis(self.unsynced)));
        let mut course = Course::new(self, target, victim, Arc::clone(&run), Arc::clone(&books));
        let outcome = course.run(cycles, report);
        let sums = books.sums();
        let mut faults = run.ledger.faults();
        // A phase that waits in vain does not know what was acknowledged.
        faults.lost = if course.all_should_have_run() { sums.missing } else { 0 };
        report.faults(&faults);
        Self::figures(&sums, course.restarts(), report);
        outcome
    }
}

impl Durable {
    fn cycles(&self) -> Result<u32, Abort> {
        let can_kill = self.start.is_some() || self.crash.is_some();
        let cycles = self.cycles.unwrap_or(if can_kill { CYCLES } else { 0 });
        let wrong = if cycles > 0 && !can_kill {
            "who kills the server, and starts it again? Give --start 'COMMAND' instead of --server, or --crash 'COMMAND', or --cycles 0"
        } else if cycles > 0 && self.length.extent() == Extent::ENDLESS {
            "--cycles are spread over a --count or a --duration; it needs an end"
        } else {
            return Ok(cycles);
        };
        Err(Abort(wrong.to_owned()))
    }

    fn victim(&self, target: Target) -> Result<Victim, Abort> {
        let (address, process) = (target.server, target.process);
        Ok(match (&self.start, &self.crash) {
            (Some(line), _) => Victim::Started(Box::new(Server::start(line, self.dir.as_deref(), &[])?)),
            (None, Some(crash)) => Victim::Elsewhere { address, crash: crash.clone() },
            (None, None) => Victim::Untouched { address, process },
        })
    }

    fn plan(&self) -> Run {
        let functions = Picks::in_turn(names(&self.names.function, self.functions));
        let mut run = new_run(Picks::weighted(SIZE_SALT, self.sizes.0.clone()), functions, self.names.unique);
        let levels = [Level::High, Level::Normal, Level::Low];
        let kinds = levels.map(|level| (Kind { background: true, level }, 1.0));
        run.kinds = Picks::weighted(KIND_SALT, kinds.to_vec());
        run
    }

    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn figures(sums: &Sums, restarts: &[Duration], report: &mut Report) {
        report.figure("acknowledged", sums.acknowledged as f64, "jobs");
        if restarts.is_empty() {
            return;
        }
        let unanswered = sums.submitted - sums.acknowledged;
        report.figure("submitted, but not acknowledged before a kill", unanswered as f64, "jobs");
        report.figure("ran though not acknowledged", sums.unconfirmed as f64, "jobs");
        report.figure("ran again, in flight at a kill", sums.in_flight as f64, "jobs");
        if sums.forgotten > 0 {
            report.figure("ran again, ended before a kill", sums.forgotten as f64, "jobs");
            report.figure(
                "longest time between such an end and the kill",
                sums.forgotten_ms_max as f64,
                "ms",
            );
        }
        report.figure("killed", restarts.len() as f64, "times");
        let mut sorted = restarts.to_vec();
        sorted.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        report.figure("from a start until it answers, median", ms(sorted[sorted.len() / 2]), "ms");
        report.figure("from a start until it answers, longest", ms(sorted[sorted.len() - 1]), "ms");
    }
}
