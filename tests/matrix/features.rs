//! What is tried, and what a peer cannot do by itself.

use crate::column::Column;
use crate::languages::Language::{self, C, Perl, Php, Python, Tool};
use crate::programs::Program::{self, Blocking, Library, Tokio};
use crate::support::Kind;

/// A row of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Feature {
    /// What a client's program calls it.
    pub(crate) name: &'static str,
    /// What works then.
    pub(crate) what: &'static str,
    pub(crate) by: By,
}

/// Who tries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The client, before there is a worker; what it submitted is looked at later.
    ClientAlone,
    /// The client, served by workers.
    Client,
    /// The same, while the test keeps idle workers asking for jobs.
    ClientNudged,
    /// The test: it watches the server, and ends or stops workers.
    Watching,
}

const fn row(name: &'static str, by: By, what: &'static str) -> Feature {
    Feature { name, what, by }
}

/// In the order in which they are tried: later ones take workers away.
pub(crate) const FEATURES: [Feature; 31] = [
    row("queue", By::ClientAlone, "background jobs of 3 priorities, in their order"),
    row("lost_worker", By::Watching, "a killed worker's job goes to another"),
    row("identity", By::Watching, "a worker's id is listed"),
    row("functions", By::Watching, "several functions on one connection"),
    row("echo", By::Client, "echo"),
    row("foreground", By::Client, "a foreground job"),
    row("urgency", By::Client, "foreground jobs of high and low priority"),
    row("binary", By::Client, "every byte, NUL too"),
    row("empty", By::Client, "an empty workload and result"),
    row("large", By::Client, "a mebibyte there and back"),
    row("stream", By::Client, "data, warning and status on the way"),
    row("failure", By::Client, "a job that fails"),
    row("exception", By::Client, "an exception, asked for"),
    row("unasked_exception", By::Client, "an exception, not asked for, is a failure"),
    row("unknown_option", By::Client, "an unknown option is refused"),
    row("unique", By::Client, "the worker sees the unique"),
    row("background", By::Client, "a background job runs"),
    row("many", By::Client, "many jobs in flight on one connection"),
    row("coalescing", By::Client, "one unique, one job"),
    row("workload_coalescing", By::Client, "one workload, one job (unique -)"),
    row("status", By::Client, "status and progress by handle"),
    row("status_by_unique", By::Client, "status and progress by unique"),
    row("client_timeout", By::Client, "a client that waits only so long"),
    row("epoch", By::ClientNudged, "a job for a later time, workers grabbing"),
    row("epoch_by_itself", By::Client, "a job for a later time, workers asleep"),
    row("reducer", By::Client, "a job split for a reducer"),
    row("admin", By::Client, "admin commands"),
    row("worker_text", By::Client, "text commands on a worker's connection"),
    row("takes_back", By::ClientNudged, "CAN_DO_TIMEOUT: a stuck job runs elsewhere"),
    row("withdraw", By::Watching, "CANT_DO"),
    row("forget", By::Watching, "RESET_ABILITIES"),
];

/// Where something is missing.
#[derive(Clone, Copy, Debug)]
enum Of {
    Client(Language),
    Worker(Language),
    Server(Kind),
    ClientOn(Language, Kind),
    WorkerOn(Language, Kind),
    /// Any worker but this one.
    AnyWorkerBut(Language),
}

impl Of {
    fn concerns(self, column: &Column) -> bool {
        let is = |program: Program, language| program == Library(language);
        match self {
            Self::Client(language) => is(column.client, language),
            Self::Worker(language) => is(column.worker, language),
            Self::Server(kind) => column.kind == kind,
            Self::ClientOn(language, kind) => is(column.client, language) && column.kind == kind,
            Self::WorkerOn(language, kind) => is(column.worker, language) && column.kind == kind,
            Self::AnyWorkerBut(language) => !is(column.worker, language),
        }
    }
}

const STRANGE_HANDLE: &str = "libgearman waits for ever: gearmand's WORK_FAIL has a NUL in its handle";

/// Features that a peer lacks, and why.
const LACKS: &[(Of, &[&str], &str)] = &[
    (
        Of::Server(Kind::Gearmand),
        &["epoch_by_itself"],
        "gearmand 1.1 gives a due job only to a worker that asks",
    ),
    (Of::ClientOn(C, Kind::Gearmand), &["unasked_exception"], STRANGE_HANDLE),
    (Of::ClientOn(Tool, Kind::Gearmand), &["unasked_exception"], STRANGE_HANDLE),
    (Of::ClientOn(Php, Kind::Gearmand), &["unasked_exception"], STRANGE_HANDLE),
    (
        Of::ClientOn(Perl, Kind::Gearmand),
        &["unasked_exception"],
        "Gearman::Client dies of the NUL in the handle of gearmand's WORK_FAIL",
    ),
    (
        Of::WorkerOn(Perl, Kind::Gearmand),
        &["empty"],
        "gearmand closes on an empty result as Perl's worker sends it",
    ),
    (Of::Client(Php), &["empty"], "php-gearman refuses an empty workload"),
    (
        Of::Client(Php),
        &["unknown_option", "epoch", "epoch_by_itself", "reducer"],
        "php-gearman has no call for it",
    ),
    (
        Of::Client(Perl),
        &["echo", "unknown_option", "status_by_unique", "epoch", "epoch_by_itself", "reducer"],
        "Gearman::Client has no call for it",
    ),
    (Of::Worker(Perl), &["unique"], "Gearman::Worker does not ask for uniques"),
    (Of::Client(Python), &["echo"], "gear's echo notifies a condition without its lock, and raises"),
    (
        Of::Client(Python),
        &["status_by_unique", "client_timeout", "epoch", "epoch_by_itself", "reducer"],
        "gear has no call for it",
    ),
    (
        Of::Client(Tool),
        &[
            "echo",
            "exception",
            "unknown_option",
            "many",
            "status",
            "status_by_unique",
            "epoch",
            "epoch_by_itself",
            "reducer",
        ],
        "the gearman tool has no option for it",
    ),
    (
        Of::Worker(Tool),
        &["identity", "stream", "exception", "unasked_exception", "unique", "status", "status_by_unique"],
        "the gearman tool's worker knows input, output and exit code only",
    ),
    (Of::Worker(Tool), &["takes_back", "withdraw", "forget"], "the gearman tool has no option for it"),
    (Of::Worker(Php), &["reducer"], "php-gearman has no partitions"),
    (Of::Worker(Perl), &["reducer"], "Gearman::Worker has no partitions"),
    (Of::Worker(Python), &["reducer"], "gear has no partitions"),
    (Of::Worker(Tool), &["reducer"], "the gearman tool has no partitions"),
    (
        Of::WorkerOn(Tool, Kind::Gearmand),
        &["epoch"],
        "gearmand 1.1 gives a due job only to a worker that asks, and the tool's has this function alone",
    ),
    (Of::Client(C), &["admin"], "libgearman has no call for it"),
    (Of::Client(Php), &["admin"], "php-gearman has no call for it"),
    (Of::Client(Tool), &["admin"], "gearadmin does that"),
    (Of::AnyWorkerBut(Python), &["worker_text"], "only gear's worker mixes text with packets"),
];

/// Why this cell cannot be tried, if it cannot.
pub(crate) fn reason(column: &Column, feature: &Feature) -> Option<&'static str> {
    let found = LACKS.iter().find(|(of, names, _)| names.contains(&feature.name) && of.concerns(column));
    found.map(|(_, _, reason)| *reason)
}

/// Names in [`LACKS`] that no feature has: they would hide a hole in the table.
pub(crate) fn unknown_names() -> Vec<&'static str> {
    let names = LACKS.iter().flat_map(|(_, names, _)| names.iter().copied());
    names.filter(|name| FEATURES.iter().all(|feature| feature.name != *name)).collect()
}

/// All pairs of a client and a worker.
pub(crate) fn pairs() -> Vec<(Program, Program)> {
    let libraries = [C, Tool, Php, Perl, Python].map(Library);
    let mut pairs = vec![(Blocking, Blocking), (Tokio, Tokio)];
    for ours in [Blocking, Tokio] {
        pairs.extend(libraries.map(|library| (ours, library)));
        pairs.extend(libraries.map(|library| (library, ours)));
    }
    pairs.extend(libraries.map(|library| (library, library)));
    pairs
}
