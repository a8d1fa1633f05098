//! What clients, workers and operators say, as intent and as bytes.

use gearshard::protocol::encode::encode;
use gearshard::protocol::handle::HandlePrefix;
use gearshard::protocol::packet::{Command, Magic};
use gearshard::queue::job::Priority;

use crate::model::{RunId, Submit, SubmitId, Tick};

/// One request on its way to the server.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    CanDo {
        function: u8,
        timeout_ms: u32,
    },
    CantDo {
        function: u8,
    },
    Reset,
    PreSleep,
    Grab {
        kind: Grab,
        sent: Tick,
    },
    Submit(SubmitId),
    Work {
        number: u64,
        run: Option<RunId>,
        what: Work,
    },
    GetStatus {
        number: u64,
    },
    GetStatusUnique {
        unique: Unique,
    },
    Echo(u32),
    Exceptions,
    Admin(Admin),
    /// Something that no server can take: the connection is closed.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grab {
    Plain,
    Uniq,
    All,
}

/// What a worker says of a job. Data carry their number within the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Data(u32),
    Warning,
    Status(u32, u32),
    Complete,
    Fail,
    Exception,
}

impl Work {
    pub(crate) fn is_last(self) -> bool {
        matches!(self, Self::Complete | Self::Fail | Self::Exception)
    }
}

/// Words of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admin {
    Version,
    Unknown,
    Status,
    PriorityStatus,
    ShowJobs,
    ShowUniqueJobs,
    Workers,
    ShowDead,
    RequeueDead(u64),
    PurgeDead(Option<u64>),
    Cancel(u64),
    Create(u8),
    Drop(u8),
    Maxqueue(u8, Option<u32>),
}

impl Admin {
    /// Whether the answer ends with a line that holds a single dot.
    pub(crate) fn is_list(self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::PriorityStatus
                | Self::ShowJobs
                | Self::ShowUniqueJobs
                | Self::Workers
                | Self::ShowDead
        )
    }
}

/// The unique of a submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unique {
    Empty,
    /// `-`: the workload is the key.
    Dash,
    Named(u8),
}

impl Unique {
    pub(crate) fn bytes(self) -> Vec<u8> {
        match self {
            Self::Empty => Vec::new(),
            Self::Dash => b"-".to_vec(),
            Self::Named(number) => format!("u{number}").into_bytes(),
        }
    }
}

/// The workload of a submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Load {
    Empty,
    /// Says which submit it came with.
    Tag(SubmitId),
    /// The same for many submits.
    Shared(u8),
}

impl Load {
    pub(crate) fn bytes(self) -> Vec<u8> {
        match self {
            Self::Empty => Vec::new(),
            Self::Tag(submit) => format!("s{submit}").into_bytes(),
            Self::Shared(number) => format!("w{number}").into_bytes(),
        }
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let number = || std::str::from_utf8(&bytes[1..]).ok()?.parse::<usize>().ok();
        match bytes.first() {
            None => Some(Self::Empty),
            Some(b's') => number().map(Self::Tag),
            Some(b'w') => number().and_then(|number| u8::try_from(number).ok()).map(Self::Shared),
            Some(_) => None,
        }
    }
}

pub(crate) fn function_name(function: u8) -> Vec<u8> {
    format!("f{function}").into_bytes()
}

pub(crate) fn parse_function(name: &[u8]) -> Option<u8> {
    std::str::from_utf8(name.strip_prefix(b"f")?).ok()?.parse().ok()
}

/// What `WORK_DATA` and its like carry: who speaks, and the how-manieth it is.
pub(crate) fn payload(run: Option<RunId>, sequence: u32) -> Vec<u8> {
    match run {
        Some(run) => format!("r{run}.{sequence}").into_bytes(),
        None => b"rogue".to_vec(),
    }
}

pub(crate) fn parse_payload(bytes: &[u8]) -> Option<(RunId, u32)> {
    let text = std::str::from_utf8(bytes.strip_prefix(b"r")?).ok()?;
    let (run, sequence) = text.split_once('.')?;
    Some((run.parse().ok()?, sequence.parse().ok()?))
}

/// The bytes of a request.
pub(crate) fn bytes(ask: &Ask, submits: &[Submit], prefix: &HandlePrefix) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |command, args: &[&[u8]], data: &[u8]| {
        encode(&mut out, Magic::Request, command, args, data);
    };
    match ask {
        Ask::CanDo { function, timeout_ms: 0 } => put(Command::CanDo, &[&function_name(*function)], b""),
        Ask::CanDo { function, timeout_ms } => {
            put(Command::CanDoTimeout, &[&function_name(*function), timeout_ms.to_string().as_bytes()], b"")
        }
        Ask::CantDo { function } => put(Command::CantDo, &[&function_name(*function)], b""),
        Ask::Reset => put(Command::ResetAbilities, &[], b""),
        Ask::PreSleep => put(Command::PreSleep, &[], b""),
        Ask::Grab { kind: Grab::Plain, .. } => put(Command::GrabJob, &[], b""),
        Ask::Grab { kind: Grab::Uniq, .. } => put(Command::GrabJobUniq, &[], b""),
        Ask::Grab { kind: Grab::All, .. } => put(Command::GrabJobAll, &[], b""),
        Ask::Submit(submit) => submit_bytes(&mut out, &submits[*submit]),
        Ask::Work { number, run, what } => {
            let handle = prefix.handle(*number);
            let handle = handle.as_bytes();
            match what {
                Work::Data(n) => put(Command::WorkData, &[handle], &payload(*run, *n)),
                Work::Warning => put(Command::WorkWarning, &[handle], &payload(*run, 0)),
                Work::Status(numerator, denominator) => put(
                    Command::WorkStatus,
                    &[handle, numerator.to_string().as_bytes(), denominator.to_string().as_bytes()],
                    b"",
                ),
                Work::Complete => put(Command::WorkComplete, &[handle], &payload(*run, 0)),
                Work::Fail => put(Command::WorkFail, &[handle], b""),
                Work::Exception => put(Command::WorkException, &[handle], &payload(*run, 0)),
            }
        }
        Ask::GetStatus { number } => put(Command::GetStatus, &[prefix.handle(*number).as_bytes()], b""),
        Ask::GetStatusUnique { unique } => put(Command::GetStatusUnique, &[&unique.bytes()], b""),
        Ask::Echo(number) => put(Command::EchoReq, &[], number.to_string().as_bytes()),
        Ask::Exceptions => put(Command::OptionReq, &[b"exceptions"], b""),
        Ask::Admin(admin) => out = admin_line(*admin, prefix),
        Ask::Broken => put(Command::CanDoTimeout, &[b"f0", b"123456789012345678901"], b""),
    }
    out
}

fn submit_bytes(out: &mut Vec<u8>, submit: &Submit) {
    let function = function_name(submit.function);
    let unique = submit.unique.bytes();
    let load = submit.load.bytes();
    let mut put = |command, args: &[&[u8]]| encode(out, Magic::Request, command, args, &load);
    if submit.not_before_s != 0 {
        let epoch = submit.not_before_s.to_string();
        return put(Command::SubmitJobEpoch, &[&function, &unique, epoch.as_bytes()]);
    }
    if submit.reducer {
        let command =
            if submit.background { Command::SubmitReduceJobBackground } else { Command::SubmitReduceJob };
        return put(command, &[&function, &unique, b"reducer", b"0"]);
    }
    let command = match (submit.priority, submit.background) {
        (Priority::Low, false) => Command::SubmitJobLow,
        (Priority::Low, true) => Command::SubmitJobLowBg,
        (Priority::Normal, false) => Command::SubmitJob,
        (Priority::Normal, true) => Command::SubmitJobBg,
        (Priority::High, false) => Command::SubmitJobHigh,
        (Priority::High, true) => Command::SubmitJobHighBg,
    };
    put(command, &[&function, &unique]);
}

fn admin_line(admin: Admin, prefix: &HandlePrefix) -> Vec<u8> {
    match admin {
        Admin::Version => "version\r\n".to_owned(),
        Admin::Unknown => "jobs\n".to_owned(),
        Admin::Status => "status\n".to_owned(),
        Admin::PriorityStatus => "prioritystatus\n".to_owned(),
        Admin::ShowJobs => "show jobs\n".to_owned(),
        Admin::ShowUniqueJobs => "show unique jobs\n".to_owned(),
        Admin::Workers => "workers\n".to_owned(),
        Admin::ShowDead => "show dead\n".to_owned(),
        Admin::RequeueDead(number) => format!("requeue dead {}\n", prefix.handle(number)),
        Admin::PurgeDead(None) => "purge dead *\n".to_owned(),
        Admin::PurgeDead(Some(number)) => format!("purge dead {}\n", prefix.handle(number)),
        Admin::Cancel(number) => format!("cancel job {}\n", prefix.handle(number)),
        Admin::Create(function) => format!("create function f{function}\n"),
        Admin::Drop(function) => format!("drop function f{function}\n"),
        Admin::Maxqueue(function, None) => format!("maxqueue f{function}\n"),
        Admin::Maxqueue(function, Some(limit)) => format!("maxqueue f{function} {limit}\n"),
    }
    .into_bytes()
}
