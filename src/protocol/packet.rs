//! The packet table: every command of the binary protocol and its shape.
//!
//! A packet is a 12-byte header (magic, type, length of the rest, the last two
//! big-endian) followed by a fixed number of arguments and, for some commands,
//! data. This module knows names, numbers and shapes; it neither reads nor
//! writes bytes (`decode`, `encode`) and has no opinion on what a server does.
//! Source: gearmand-spec.md, section 2.

/// Bytes before the body of every binary packet.
pub const HEADER_BYTES: usize = 12;

/// The most arguments that any command has (SUBMIT_JOB_SCHED).
pub const ARGS_MAX: usize = 7;

/// Which way a binary packet travels, as its first four bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Magic {
    /// `\0REQ`: to the server.
    Request,
    /// `\0RES`: from the server.
    Response,
}

impl Magic {
    /// The four bytes on the wire.
    #[must_use]
    pub const fn bytes(self) -> [u8; 4] {
        match self {
            Self::Request => *b"\0REQ",
            Self::Response => *b"\0RES",
        }
    }
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $wire:literal, $argc:literal, $data:literal;)*) => {
        /// A command of the binary protocol, under its protocol name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Command {
            $($(#[$doc])* $name = $number,)*
        }

        impl Command {
            /// Every command, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The command with this type number, if there is one.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The protocol's name, such as `SUBMIT_JOB`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }

            /// How many arguments the body opens with.
            #[must_use]
            pub const fn argc(self) -> usize {
                match self { $(Self::$name => $argc,)* }
            }

            /// Whether data follows the arguments. Without data the last
            /// argument is the rest of the packet, NUL bytes included.
            #[must_use]
            pub const fn has_data(self) -> bool {
                match self { $(Self::$name => $data,)* }
            }
        }
    };
}

commands! {
    /// Worker: I serve this function.
    CanDo = 1, "CAN_DO", 1, false;
    /// Worker: I no longer serve this function.
    CantDo = 2, "CANT_DO", 1, false;
    /// Worker: I serve nothing any more.
    ResetAbilities = 3, "RESET_ABILITIES", 0, false;
    /// Worker: wake me with NOOP when there is a job.
    PreSleep = 4, "PRE_SLEEP", 0, false;
    /// Never given a meaning; known all the same, and answered as what is no request.
    Unused = 5, "UNUSED", 0, false;
    /// Server to a sleeping worker: there may be a job.
    Noop = 6, "NOOP", 0, false;
    /// Client: foreground job, normal priority (function, unique).
    SubmitJob = 7, "SUBMIT_JOB", 2, true;
    /// Server: the job's handle.
    JobCreated = 8, "JOB_CREATED", 1, false;
    /// Worker: give me a job.
    GrabJob = 9, "GRAB_JOB", 0, false;
    /// Server: there is none.
    NoJob = 10, "NO_JOB", 0, false;
    /// Server: run this (handle, function).
    JobAssign = 11, "JOB_ASSIGN", 2, true;
    /// Progress of a job (handle, numerator, denominator).
    WorkStatus = 12, "WORK_STATUS", 3, false;
    /// The job is done (handle), with its result.
    WorkComplete = 13, "WORK_COMPLETE", 1, true;
    /// The job failed (handle).
    WorkFail = 14, "WORK_FAIL", 1, false;
    /// Client: what about this handle?
    GetStatus = 15, "GET_STATUS", 1, false;
    /// Send these bytes back.
    EchoReq = 16, "ECHO_REQ", 0, true;
    /// The bytes of an ECHO_REQ.
    EchoRes = 17, "ECHO_RES", 0, true;
    /// Client: background job, normal priority (function, unique).
    SubmitJobBg = 18, "SUBMIT_JOB_BG", 2, true;
    /// Server: refused (code, text).
    Error = 19, "ERROR", 2, false;
    /// Server: answer to GET_STATUS (handle, known, running, numerator, denominator).
    StatusRes = 20, "STATUS_RES", 5, false;
    /// Client: foreground job, high priority (function, unique).
    SubmitJobHigh = 21, "SUBMIT_JOB_HIGH", 2, true;
    /// Worker: call me this in `workers`.
    SetClientId = 22, "SET_CLIENT_ID", 1, false;
    /// Worker: I serve this function, within so many milliseconds.
    CanDoTimeout = 23, "CAN_DO_TIMEOUT", 2, false;
    /// Reserved by the protocol, served by no server.
    AllYours = 24, "ALL_YOURS", 0, false;
    /// The job ended with an exception (handle).
    WorkException = 25, "WORK_EXCEPTION", 1, true;
    /// Switch an option of this connection on (name).
    OptionReq = 26, "OPTION_REQ", 1, false;
    /// The option is on (name).
    OptionRes = 27, "OPTION_RES", 1, false;
    /// Part of a job's result (handle).
    WorkData = 28, "WORK_DATA", 1, true;
    /// A warning from a job (handle).
    WorkWarning = 29, "WORK_WARNING", 1, true;
    /// Worker: give me a job and its unique.
    GrabJobUniq = 30, "GRAB_JOB_UNIQ", 0, false;
    /// Server: run this (handle, function, unique).
    JobAssignUniq = 31, "JOB_ASSIGN_UNIQ", 3, true;
    /// Client: background job, high priority (function, unique).
    SubmitJobHighBg = 32, "SUBMIT_JOB_HIGH_BG", 2, true;
    /// Client: foreground job, low priority (function, unique).
    SubmitJobLow = 33, "SUBMIT_JOB_LOW", 2, true;
    /// Client: background job, low priority (function, unique).
    SubmitJobLowBg = 34, "SUBMIT_JOB_LOW_BG", 2, true;
    /// Reserved by the protocol, served by no server.
    SubmitJobSched = 35, "SUBMIT_JOB_SCHED", 7, true;
    /// Client: background job not before a time (function, unique, unix seconds).
    SubmitJobEpoch = 36, "SUBMIT_JOB_EPOCH", 3, true;
    /// Client: foreground job with a reducer (function, unique, reducer, unused).
    SubmitReduceJob = 37, "SUBMIT_REDUCE_JOB", 4, true;
    /// Client: background job with a reducer (function, unique, reducer, unused).
    SubmitReduceJobBackground = 38, "SUBMIT_REDUCE_JOB_BACKGROUND", 4, true;
    /// Worker: give me a job, its unique and its reducer.
    GrabJobAll = 39, "GRAB_JOB_ALL", 0, false;
    /// Server: run this (handle, function, unique, reducer).
    JobAssignAll = 40, "JOB_ASSIGN_ALL", 4, true;
    /// Client: what about the job with this unique?
    GetStatusUnique = 41, "GET_STATUS_UNIQUE", 1, false;
    /// Server: answer to GET_STATUS_UNIQUE (unique, known, running, numerator, denominator, clients).
    StatusResUnique = 42, "STATUS_RES_UNIQUE", 6, false;
}

/// One decoded binary packet; all bytes are borrowed from the read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Which way it says that it travels.
    pub magic: Magic,
    /// What it asks or tells.
    pub command: Command,
    /// The arguments; only the first `command.argc()` are meaningful, the rest are empty.
    pub args: [&'a [u8]; ARGS_MAX],
    /// What follows the arguments; empty for commands without data.
    pub data: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_unused_ones_are_unknown() {
        for &command in Command::ALL {
            assert_eq!(Command::from_number(command as u32), Some(command));
            assert!(command.argc() <= ARGS_MAX, "{}", command.name());
        }
        for number in [0, 43, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            assert_eq!(Command::from_number(number), None);
        }
        assert_eq!(Command::ALL.len(), 42);
    }
}
