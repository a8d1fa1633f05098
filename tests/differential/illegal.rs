//! Steps that break the protocol, or ask for what nobody may have.

use super::exceptions::Exception;
use super::generate::{Generator, line, say};
use super::script::{Outcome, Piece, Step, Who, Wire};
use gearshard::protocol::packet::Command;

/// Commands that only a server sends, and some that no server serves.
const NOT_REQUESTS: [Command; 15] = [
    Command::Noop,
    Command::JobCreated,
    Command::NoJob,
    Command::JobAssign,
    Command::EchoRes,
    Command::Error,
    Command::StatusRes,
    Command::AllYours,
    Command::OptionRes,
    Command::JobAssignUniq,
    Command::JobAssignAll,
    Command::StatusResUnique,
    Command::SubmitJobSched,
    Command::AllYours,
    Command::Noop,
];

const ENDS: [Command; 6] = [
    Command::WorkComplete,
    Command::WorkFail,
    Command::WorkException,
    Command::WorkData,
    Command::WorkWarning,
    Command::WorkStatus,
];

const JUNK: [&str; 29] = [
    " \n",
    "   \r\n",
    "show \n",
    "show jobs \n",
    "show  unique   jobs  \n",
    "create function \r\n",
    "drop function \r\n",
    "maxqueue \n",
    "cancel job  \r\n",
    "cancel \n",
    "VERSION   \n",
    "\n",
    "\r\n",
    " status\n",
    "help\n",
    "shutdown\n",
    "show\n",
    "show nothing\n",
    "show jobs now\n",
    "cancel\n",
    "cancel job\n",
    "cancel work H:x:1\n",
    "create\n",
    "Create x\n",
    "DROP\n",
    "create function\r\n",
    "drop function\n",
    "maxqueue\n",
    "\x01\x02\x7f  junk\n",
];

/// An illegal step, if the script may have one here.
pub(super) fn make_up(generator: &mut Generator) -> Option<Step> {
    let who = generator.anyone();
    match generator.rng.usize(0..12) {
        0 => closing(generator, who),
        1 => only_we_close(generator, who),
        2 => Some(say(who, vec![response_magic(generator)])),
        3 => {
            let command = generator.one_of(&NOT_REQUESTS);
            Some(say(who, vec![shaped(command, *b"\0REQ")]))
        }
        4 => Some(say(who, vec![long_unique(generator)])),
        5 | 6 => Some(say(who, vec![foreign_work(generator, who)?])),
        7 => Some(say(who, vec![with_trailing_junk(generator)])),
        8 => drop_unknown(generator, who),
        _ => {
            let junk = generator.one_of(&JUNK);
            Some(say(who, vec![line(junk)]))
        }
    }
}

// Both servers close these, silently.
fn closing(generator: &mut Generator, who: Who) -> Option<Step> {
    if !generator.may_lose(who) {
        return None;
    }
    let wire = match generator.rng.usize(0..5) {
        0 => {
            let words = [
                "one two three four five six\n",
                "a b c d e \n",
                "  a b c d e\r\n",
                "a  b  c  d  e  f  g \n",
            ];
            line(generator.one_of(&words))
        }
        1 => Wire::Raw(
            generator.one_of(&[&b"\0REX\0\0\0\x01"[..], b"\0\0\0\0\0\0\0\0\0\0\0\0", b"\0Request"]).to_vec(),
        ),
        2 => Wire::Raw(vec![b'x'; 9000]),
        _ => {
            Exception::HugeType.applied();
            let any = generator.rng.u32(43..0x8000_0000);
            let number = generator.one_of(&[0, 43, 44, 255, 0x7fff_ffff, any]);
            let body = vec![Piece::from(generator.one_of(&["", "body", "\0\0"]))];
            Wire::Packet { magic: *b"\0REQ", number, body }
        }
    };
    Some(say(who, vec![wire]))
}

fn only_we_close(generator: &mut Generator, who: Who) -> Option<Step> {
    if !generator.may_lose(who) {
        return None;
    }
    let function = generator.some_function();
    let function = generator.function_piece(function);
    let wire = if generator.rng.bool() {
        Exception::ShortPacket.applied();
        let commands: Vec<Command> = Command::ALL
            .iter()
            .copied()
            .filter(|&command| {
                command.argc() > usize::from(!command.has_data()) && !takes_bare_handle(command)
            })
            .collect();
        let command = generator.one_of(&commands);
        let body = vec![Piece::from(generator.one_of(&["", "no end", "x"]))];
        Wire::Packet { magic: *b"\0REQ", number: command as u32, body }
    } else {
        Exception::InternalError.applied();
        let long = Piece::from("9".repeat(70).as_str());
        match generator.rng.usize(0..4) {
            0 => Wire::request(Command::GetStatus, &[long], b""),
            1 => Wire::request(Command::GetStatusUnique, &[long], b""),
            2 => Wire::request(Command::CanDoTimeout, &[function, long], b""),
            _ => Wire::request(Command::SubmitJobEpoch, &[function, Piece::from(""), long], b""),
        }
    };
    Some(Step::Send { who, wires: vec![wire], split: None, outcome: Outcome::OnlyWeClose })
}

// A bare handle is a result without data, for us.
fn takes_bare_handle(command: Command) -> bool {
    let bare = matches!(
        command,
        Command::WorkComplete | Command::WorkData | Command::WorkWarning | Command::WorkException
    );
    Exception::ResultWithoutNul.avoid(bare)
}

// Any command, its arguments in the right shape.
fn shaped(command: Command, magic: [u8; 4]) -> Wire {
    let args = vec![Piece::from("1"); command.argc()];
    match Wire::request(command, &args, if command.has_data() { b"data" } else { b"" }) {
        Wire::Packet { number, body, .. } => Wire::Packet { magic, number, body },
        other => other,
    }
}

fn response_magic(generator: &mut Generator) -> Wire {
    let command = generator.one_of(Command::ALL);
    shaped(command, *b"\0RES")
}

fn long_unique(generator: &mut Generator) -> Wire {
    Exception::UniqueOf64.applied();
    let function = generator.some_function();
    let function = generator.function_piece(function);
    let length = generator.one_of(&[65, 66, 100, 255, 1000]);
    let unique = Piece::Bytes(vec![b'u'; length]);
    let command = generator.one_of(&[
        Command::SubmitJob,
        Command::SubmitJobBg,
        Command::SubmitJobHigh,
        Command::SubmitJobLowBg,
    ]);
    Wire::request(command, &[function, unique], b"data")
}

// A result for a job that the sender does not hold.
fn foreign_work(generator: &mut Generator, who: Who) -> Option<Wire> {
    let held = generator.model.held(who);
    let others = generator.model.numbers(|_| true).into_iter().filter(|number| !held.contains(number));
    let others: Vec<usize> = others.collect();
    let handle = if others.is_empty() || generator.rng.usize(0..3) == 0 {
        Piece::from(generator.one_of(&["", "H:nobody:1", "H:", "x"]))
    } else {
        Piece::Handle(generator.one_of(&others))
    };
    let command = generator.one_of(&ENDS);
    let args = match command {
        Command::WorkStatus => vec![handle, Piece::from("1"), Piece::from("2")],
        _ => vec![handle],
    };
    Some(Wire::request(command, &args, if command.has_data() { b"foreign" } else { b"" }))
}

// Bodies where there should be none.
fn with_trailing_junk(generator: &mut Generator) -> Wire {
    let command = generator.one_of(&[Command::EchoReq, Command::GrabJob, Command::GrabJobUniq]);
    let command = if generator.rng.bool() { command } else { Command::EchoReq };
    Wire::Packet { magic: *b"\0REQ", number: command as u32, body: vec![Piece::from("junk\0junk")] }
}

fn drop_unknown(generator: &mut Generator, who: Who) -> Option<Step> {
    let number = generator.rng.u32(..);
    Some(say(who, vec![line(&format!("drop function nobody-{number}\n"))]))
}
