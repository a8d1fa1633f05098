//! Admin lines: which command a line is, and the answers that never change.
//!
//! Source: gearmand-spec.md, sections 2.1 and 13.

use super::retry::{self, RetryPolicy};
use super::{number, up_to_nul};

/// A line has at most this many words.
const WORDS_MAX: usize = 5;

/// Answer to a command that did what it was told.
pub const OK: &[u8] = b"OK\r\n";
/// Answer to `cancel job` of a handle that names no job.
pub const UNKNOWN_JOB: &[u8] = b"ERR UNKNOWN_JOB\r\n";
/// Answer to `drop function` of a name that is no function.
pub const FUNCTION_NOT_FOUND: &[u8] = b"ERR function not found\r\n";
/// Answer to `drop function` of one that is in use.
pub const FUNCTION_IN_USE: &[u8] = b"ERR there are still connected workers or executing clients\r\n";
/// Answer to `create function` over the limit.
pub const TOO_MANY_FUNCTIONS: &[u8] =
    b"ERR TOO_MANY_FUNCTIONS The+server+has+as+many+functions+as+it+may+have;+raise+--max-functions\r\n";

/// Which dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead<'a> {
    /// That of the job with this handle, or those of the function with this name.
    Named(&'a [u8]),
    /// `*`: all.
    All,
}

impl<'a> Dead<'a> {
    fn of(word: &'a [u8]) -> Self {
        if word == b"*" { Self::All } else { Self::Named(word) }
    }

    fn word(self) -> &'a [u8] {
        match self {
            Self::Named(word) => word,
            Self::All => b"*",
        }
    }
}

/// What a line asks for; words are borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminCommand<'a> {
    /// `version`
    Version,
    /// `verbose`
    Verbose,
    /// `getpid`
    GetPid,
    /// `workers`
    Workers,
    /// `status`
    Status,
    /// `prioritystatus`
    PriorityStatus,
    /// `show jobs`
    ShowJobs,
    /// `show unique jobs`
    ShowUniqueJobs,
    /// `show functions`, which gearmand does not have: it answers `ERR UNKNOWN_SHOW_ARGUMENTS`.
    ShowFunctions,
    /// `cancel job <handle>`
    CancelJob(&'a [u8]),
    /// `create function <name>`
    CreateFunction(&'a [u8]),
    /// `drop function <name>`
    DropFunction(&'a [u8]),
    /// `maxqueue <name> [limits]`; limits for low, normal and high.
    MaxQueue(&'a [u8], [u32; 3]),
    // Those that follow gearmand does not have: it answers `ERR UNKNOWN_COMMAND` or
    // `ERR UNKNOWN_SHOW_ARGUMENTS`.
    /// `show dead [name]`
    ShowDead(Option<&'a [u8]>),
    /// `requeue dead <handle or name or *>`
    RequeueDead(Dead<'a>),
    /// `purge dead <handle or name or *>`
    PurgeDead(Dead<'a>),
    /// `show retries`
    ShowRetries,
    /// `retry <name or *> <policy or off>`
    Retry(&'a [u8], Option<RetryPolicy>),
}

impl AdminCommand<'_> {
    /// The line that asks for this, without its end. [`parse`] reads it back, unless a
    /// name in it holds a space, a NUL or an end of a line.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let of = |words: &str, name: &[u8]| [words.as_bytes(), name].concat();
        match self {
            Self::Version => b"version".to_vec(),
            Self::Verbose => b"verbose".to_vec(),
            Self::GetPid => b"getpid".to_vec(),
            Self::Workers => b"workers".to_vec(),
            Self::Status => b"status".to_vec(),
            Self::PriorityStatus => b"prioritystatus".to_vec(),
            Self::ShowJobs => b"show jobs".to_vec(),
            Self::ShowUniqueJobs => b"show unique jobs".to_vec(),
            Self::ShowFunctions => b"show functions".to_vec(),
            Self::CancelJob(handle) => of("cancel job ", handle),
            Self::CreateFunction(name) => of("create function ", name),
            Self::DropFunction(name) => of("drop function ", name),
            Self::MaxQueue(name, [low, normal, high]) => {
                [of("maxqueue ", name), format!(" {high} {normal} {low}").into_bytes()].concat()
            }
            Self::ShowDead(None) => b"show dead".to_vec(),
            Self::ShowDead(Some(name)) => of("show dead ", name),
            Self::RequeueDead(which) => of("requeue dead ", which.word()),
            Self::PurgeDead(which) => of("purge dead ", which.word()),
            Self::ShowRetries => b"show retries".to_vec(),
            Self::Retry(name, policy) => {
                [of("retry ", name), format!(" {}", retry::show(*policy)).into_bytes()].concat()
            }
        }
    }

    /// Whether the answer is a list, which a line with a single `.` ends.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        matches!(
            self,
            Self::Workers
                | Self::Status
                | Self::PriorityStatus
                | Self::ShowJobs
                | Self::ShowUniqueJobs
                | Self::ShowFunctions
                | Self::ShowDead(_)
                | Self::ShowRetries
        )
    }
}

/// Why a line is not a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminError {
    /// More than five words: the connection is closed without an answer.
    TooManyWords,
    /// The answer that says what is wrong.
    Answer(Vec<u8>),
}

/// Reads a line.
///
/// # Errors
/// See [`AdminError`].
pub fn parse(line: &[u8]) -> Result<AdminCommand<'_>, AdminError> {
    let mut words = [&line[..0]; WORDS_MAX];
    let count = split(line, &mut words)?;
    let words = &words[..count];
    let command = words[0].to_ascii_lowercase();
    match command.as_slice() {
        b"version" => Ok(AdminCommand::Version),
        b"verbose" => Ok(AdminCommand::Verbose),
        b"getpid" => Ok(AdminCommand::GetPid),
        b"workers" => Ok(AdminCommand::Workers),
        b"status" => Ok(AdminCommand::Status),
        b"prioritystatus" => Ok(AdminCommand::PriorityStatus),
        b"show" => show(words),
        b"cancel" => cancel(words),
        b"create" => match words {
            [_, kind, name] if is(kind, b"function") => Ok(AdminCommand::CreateFunction(name)),
            _ => Err(incomplete(words[0])),
        },
        b"drop" => match words {
            [_, kind, name] if is(kind, b"function") => Ok(AdminCommand::DropFunction(name)),
            _ => Err(incomplete(words[0])),
        },
        b"maxqueue" => max_queue(words),
        b"requeue" => match words {
            [_, dead, which] if is(dead, b"dead") => Ok(AdminCommand::RequeueDead(Dead::of(which))),
            _ => Err(incomplete(words[0])),
        },
        b"purge" => match words {
            [_, dead, which] if is(dead, b"dead") => Ok(AdminCommand::PurgeDead(Dead::of(which))),
            _ => Err(incomplete(words[0])),
        },
        b"retry" => retry(words),
        _ => Err(unknown(words[0])),
    }
}

/// Splits at runs of spaces; a leading space gives an empty first word, a trailing one an empty last.
/// A word ends at its first NUL.
fn split<'a>(line: &'a [u8], words: &mut [&'a [u8]; WORDS_MAX]) -> Result<usize, AdminError> {
    let mut rest = line;
    let mut count = 0;
    loop {
        let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        *words.get_mut(count).ok_or(AdminError::TooManyWords)? = up_to_nul(&rest[..end]);
        count += 1;
        if end == rest.len() {
            return Ok(count);
        }
        let spaces = rest[end..].iter().take_while(|&&byte| byte == b' ').count();
        rest = &rest[end + spaces..];
    }
}

fn is(word: &[u8], command: &[u8]) -> bool {
    word.eq_ignore_ascii_case(command)
}

fn show<'a>(words: &[&'a [u8]]) -> Result<AdminCommand<'a>, AdminError> {
    match words {
        [show] => Err(unknown(show)),
        [_, jobs] if is(jobs, b"jobs") => Ok(AdminCommand::ShowJobs),
        [_, dead] if is(dead, b"dead") => Ok(AdminCommand::ShowDead(None)),
        [_, dead, name] if is(dead, b"dead") => Ok(AdminCommand::ShowDead(Some(name))),
        [_, retries] if is(retries, b"retries") => Ok(AdminCommand::ShowRetries),
        [_, functions] if is(functions, b"functions") => Ok(AdminCommand::ShowFunctions),
        [_, unique, jobs] if is(unique, b"unique") && is(jobs, b"jobs") => Ok(AdminCommand::ShowUniqueJobs),
        _ => Err(AdminError::Answer(b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n".to_vec())),
    }
}

fn cancel<'a>(words: &[&'a [u8]]) -> Result<AdminCommand<'a>, AdminError> {
    match words {
        [cancel] | [cancel, _] => Err(unknown(cancel)),
        [_, job, handle] if is(job, b"job") => Ok(AdminCommand::CancelJob(handle)),
        _ => Err(AdminError::Answer(b"ERR UNKNOWN_ERROR\r\n".to_vec())),
    }
}

// One number is the limit of all priorities; with more, they are high, normal
// and low, and what is left out is unlimited.
fn max_queue<'a>(words: &[&'a [u8]]) -> Result<AdminCommand<'a>, AdminError> {
    let limit = |word: &[u8]| u32::try_from(number::parse(word).unwrap_or(0)).unwrap_or(0);
    match words {
        [_, name] => Ok(AdminCommand::MaxQueue(name, [0; 3])),
        [_, name, all] => Ok(AdminCommand::MaxQueue(name, [limit(all); 3])),
        [_, name, high, normal] => Ok(AdminCommand::MaxQueue(name, [0, limit(normal), limit(high)])),
        [_, name, high, normal, low, ..] => {
            Ok(AdminCommand::MaxQueue(name, [limit(low), limit(normal), limit(high)]))
        }
        _ => Err(incomplete(words[0])),
    }
}

fn retry<'a>(words: &[&'a [u8]]) -> Result<AdminCommand<'a>, AdminError> {
    let [_, name, policy] = words else { return Err(incomplete(words[0])) };
    let policy = retry::parse(&String::from_utf8_lossy(policy)).map_err(|bad| {
        let told = bad.to_string().replace(' ', "+");
        AdminError::Answer(format!("ERR INVALID_POLICY {told}\r\n").into_bytes())
    })?;
    Ok(AdminCommand::Retry(name, policy))
}

fn unknown(word: &[u8]) -> AdminError {
    AdminError::Answer([b"ERR UNKNOWN_COMMAND Unknown+server+command", word, b"\r\n"].concat())
}

fn incomplete(word: &[u8]) -> AdminError {
    let text = b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+";
    AdminError::Answer([text, word, b"\r\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_as_by_gearmand() {
        use AdminCommand::{
            CancelJob, CreateFunction, DropFunction, MaxQueue, PurgeDead, RequeueDead, Retry, ShowDead,
            ShowFunctions, ShowJobs, ShowRetries, ShowUniqueJobs, Status,
        };
        let policy = "attempts=2,on=fail".parse().unwrap();
        let cases: [(&str, AdminCommand<'_>); 22] = [
            ("STATUS extra words", Status),
            ("status ", Status),
            ("show  jobs", ShowJobs),
            ("show unique JOBS", ShowUniqueJobs),
            ("show functions", ShowFunctions),
            ("cancel job H:x:1", CancelJob(b"H:x:1")),
            ("cancel job ", CancelJob(b"")),
            ("create function f", CreateFunction(b"f")),
            ("drop function F", DropFunction(b"F")),
            ("maxqueue f", MaxQueue(b"f", [0; 3])),
            ("maxqueue f 5", MaxQueue(b"f", [5; 3])),
            ("maxqueue f 5 4", MaxQueue(b"f", [0, 4, 5])),
            ("maxqueue f 5 4 3", MaxQueue(b"f", [3, 4, 5])),
            ("maxqueue f -1", MaxQueue(b"f", [0; 3])),
            ("show dead", ShowDead(None)),
            ("SHOW DEAD f", ShowDead(Some(b"f"))),
            ("requeue dead *", RequeueDead(Dead::All)),
            ("requeue dead H:x:1", RequeueDead(Dead::Named(b"H:x:1"))),
            ("purge dead f", PurgeDead(Dead::Named(b"f"))),
            ("show retries", ShowRetries),
            ("retry f attempts=2,on=fail", Retry(b"f", Some(policy))),
            ("retry * off", Retry(b"*", None)),
        ];
        for (line, command) in cases {
            assert_eq!(parse(line.as_bytes()), Ok(command), "{line}");
            assert_eq!(parse(&command.line()), Ok(command), "{line}");
        }
    }

    #[test]
    fn what_is_not_a_command_is_answered_as_by_gearmand() {
        let cases = [
            ("", "ERR UNKNOWN_COMMAND Unknown+server+command\r\n"),
            (" status", "ERR UNKNOWN_COMMAND Unknown+server+command\r\n"),
            ("Shutdown graceful", "ERR UNKNOWN_COMMAND Unknown+server+commandShutdown\r\n"),
            ("show", "ERR UNKNOWN_COMMAND Unknown+server+commandshow\r\n"),
            ("show jobs ", "ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
            ("show jobs x", "ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
            ("cancel x", "ERR UNKNOWN_COMMAND Unknown+server+commandcancel\r\n"),
            ("cancel foo bar", "ERR UNKNOWN_ERROR\r\n"),
            ("cancel job h extra", "ERR UNKNOWN_ERROR\r\n"),
            ("show dead f g", "ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
            (
                "requeue dead",
                "ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+requeue\r\n",
            ),
            ("retry f attempts=0", "ERR INVALID_POLICY attempts='0':+it+is+a+number+between+1+and+65535\r\n"),
            (
                "Drop",
                "ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+Drop\r\n",
            ),
        ];
        for (line, answer) in cases {
            assert_eq!(parse(line.as_bytes()), Err(AdminError::Answer(answer.into())), "{line}");
        }
        assert_eq!(parse(b"a b c d e f"), Err(AdminError::TooManyWords));
        assert_eq!(parse(b"a b c d e "), Err(AdminError::TooManyWords));
        assert!(parse(b"status b c d e").is_ok());
    }
}
