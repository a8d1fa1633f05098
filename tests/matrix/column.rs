//! One client and one worker on one server: every feature, in turn.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use gearshard::protocol::packet::Command;

use crate::features::{By, FEATURES, Feature, reason};
use crate::languages::Language;
use crate::programs::{Program, Staff, finish};
use crate::support::process::TempDir;
use crate::support::{Connection, DEADLINE, Kind, Process, Server, wait_until};
use crate::tool;

/// A column of the matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) client: Program,
    pub(crate) worker: Program,
    pub(crate) kind: Kind,
}

/// What came of one feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Works,
    /// A peer lacks it; the reason.
    Cannot(&'static str),
    Fails(String),
}

pub(crate) type Cells = BTreeMap<&'static str, Cell>;

/// The order in which `queue` is to run.
const QUEUE: &str = "high 1\nhigh 2\nnormal 1\nnormal 2\nlow 1\nlow 2\n";

/// What a panic says.
fn caught<T>(test: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(test)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

impl Column {
    pub(crate) fn name(&self) -> String {
        format!("{}>{}", self.client.name(), self.worker.name())
    }

    /// Tries everything that is not declared to be lacking.
    pub(crate) fn run(self) -> Cells {
        let lacking =
            FEATURES.iter().filter_map(|feature| Some((feature.name, Cell::Cannot(reason(&self, feature)?))));
        let mut cells: Cells = lacking.collect();
        let args: &[&str] = if self.kind == Kind::Gearshard { &["--threads=2"] } else { &[] };
        let played = caught(|| Play { column: self, server: Server::start(self.kind, args) }.run(&mut cells));
        if let Err(problem) = played {
            // What has not been tried is not passed over.
            for feature in FEATURES {
                cells.entry(feature.name).or_insert_with(|| Cell::Fails(format!("not reached: {problem}")));
            }
        }
        cells
    }
}

struct Play {
    column: Column,
    server: Server,
}

impl Play {
    fn run(&self, cells: &mut Cells) {
        let Self { column, server } = self;
        let hire = |id: &str| Staff::hire(column.worker, server, id);
        self.try_all(By::ClientAlone, cells);
        let mut first = hire("first");
        if cells["queue"] == Cell::Works {
            note(cells, "queue", caught(|| runs_in_order(&first)));
        }
        let mut second = None;
        note(cells, "lost_worker", caught(|| second = Some(self.lose(&mut first, || hire("second")))));
        let second = second.unwrap_or_else(|| hire("second"));
        let third = hire("third");
        self.watch(cells, "identity", || {
            let listed = |id: &str| server.admin("workers").contains(&format!(" {id} : "));
            assert!(["second", "third"].into_iter().all(listed), "{}", server.admin("workers"));
        });
        self.watch(cells, "functions", || {
            let workers = server.admin("workers");
            let several = |line: &str| line.split(" : ").nth(1).is_some_and(|names| names.contains(' '));
            assert!(workers.lines().any(several), "{workers}");
        });
        self.try_all(By::Client, cells);
        let going_on = AtomicBool::new(true);
        let fourth = std::thread::scope(|scope| {
            let nudging = scope.spawn(|| self.nudge(&going_on, || hire("fourth")));
            let tried = caught(|| self.try_all(By::ClientNudged, cells));
            going_on.store(false, SeqCst);
            tried.unwrap();
            nudging.join().unwrap()
        });
        // One of them may be stuck.
        self.watch(cells, "withdraw", || self.gives_up("withdraw", &["temporary"]));
        self.watch(cells, "forget", || self.gives_up("forget", &["withdraw", "forget"]));
        if cells.values().any(|cell| matches!(cell, Cell::Fails(_))) {
            eprint!("{}: {}{}", column.name(), second.words(), third.words());
            eprint!("{}", fourth.map_or_else(String::new, |fourth| fourth.words()));
        }
    }

    fn watch(&self, cells: &mut Cells, name: &'static str, test: impl FnOnce()) {
        if !cells.contains_key(name) {
            note(cells, name, caught(test));
        }
    }

    /// The client's program tries all features of one kind; after one that fails, the rest.
    fn try_all(&self, by: By, cells: &mut Cells) {
        loop {
            let wanted = |feature: &&Feature| feature.by == by && !cells.contains_key(feature.name);
            let names: Vec<&'static str> =
                FEATURES.iter().filter(wanted).map(|feature| feature.name).collect();
            let Some(&first) = names.first() else { return };
            if self.column.client == Program::Library(Language::Tool) {
                note(cells, first, caught(|| tool::feature(first, &self.server)));
                continue;
            }
            let dir = TempDir::new();
            let mut command = self.column.client.command("client", &self.server, &names);
            command.env("JOBS", self.column.worker.many_jobs().to_string()).current_dir(dir.path());
            let mut process = Process::start(command, b"");
            let ended = caught(|| process.wait(DEADLINE));
            let said = process.stdout();
            let worked = said.lines().filter_map(|line| line.strip_prefix("ok "));
            let works = worked.filter_map(|line| names.iter().find(|name| **name == line));
            cells.extend(works.map(|name| (*name, Cell::Works)));
            if let Some(failed) = names.iter().find(|name| !cells.contains_key(**name)) {
                note(cells, failed, Err(format!("{ended:?}: {}", process.stderr().trim())));
            }
        }
    }

    /// Kills the only worker in the middle of a job, whose client is served by the next.
    fn lose(&self, first: &mut Staff, next: impl FnOnce() -> Staff) -> Staff {
        let dir = TempDir::new();
        let file = dir.path().join("release");
        let command = self.column.client.one_job(&self.server, "until_file");
        let client = Process::start(command, file.to_str().unwrap().as_bytes());
        wait_until("the job runs", || self.server.counts("until_file").1 == 1);
        let next = next();
        first.kill();
        wait_until("the job runs again", || self.server.counts("until_file") == (1, 1, 1));
        std::fs::write(&file, b"").unwrap();
        let result = finish(client).unwrap();
        // libgearman's worker tells which run it was, the tool shows progress after the result.
        assert!(result.starts_with("done") || result.starts_with("run 1 "), "{result}");
        next
    }

    /// Gives idle workers something to ask for.
    ///
    /// When gearmand 1.1 takes a job back, it forgets now and then to wake a
    /// worker that sleeps: then there is a new one.
    fn nudge(&self, going_on: &AtomicBool, hire: impl Fn() -> Staff) -> Option<Staff> {
        let mut connection = self.server.connect();
        let mut hired = None;
        while going_on.load(SeqCst) {
            submit_nudge(&mut connection);
            std::thread::sleep(Duration::from_millis(100));
            let (jobs, running, _) = self.server.counts("guarded");
            if self.server.kind() == Kind::Gearmand && jobs > running && hired.is_none() {
                hired = Some(hire());
            }
        }
        hired
    }

    /// A job upon which its worker registers some functions no more.
    fn gives_up(&self, job: &str, functions: &[&str]) {
        let workers = |function: &&str| self.server.counts(function).2;
        let before: Vec<u64> = functions.iter().map(workers).collect();
        finish(Process::start(self.column.client.one_job(&self.server, job), b"x")).unwrap();
        let mut nudging = self.server.connect();
        wait_until(job, || {
            // libgearman tells the server when it next wakes.
            submit_nudge(&mut nudging);
            functions.iter().map(workers).zip(&before).all(|(count, before)| count == before - 1)
        });
    }
}

fn submit_nudge(connection: &mut Connection) {
    connection.send(Command::SubmitJobBg, &[b"reverse", b"nudge"], b"x");
    connection.expect(Command::JobCreated);
}

fn note(cells: &mut Cells, name: &'static str, result: Result<(), String>) {
    cells.insert(name, result.map_or_else(Cell::Fails, |()| Cell::Works));
}

fn runs_in_order(worker: &Staff) {
    let read = || std::fs::read_to_string(worker.record()).unwrap_or_default();
    wait_until("all jobs have run", || read().len() >= QUEUE.len());
    assert_eq!(read(), QUEUE);
}
