//! The command line of `gearadmin`, read and refused in the manner of Boost's
//! `program_options`: long names may be shortened, each may stand once.

use std::collections::BTreeSet;

/// What `--help` prints.
pub(super) const HELP: &str = "\
Options:
  --help                         Options related to the program.
  -h [ --host ] arg (=localhost) Connect to the host
  -p [ --port ] arg (=4730)      Port number or service to use for connection
  --server-version               Fetch the version number for the server.
  --server-verbose               Fetch the verbose setting for the server.
  --create-function arg          Create the function from the server.
  --cancel-job arg               Remove a given job from the server's queue
  --drop-function arg            Drop the function from the server.
  --show-unique-jobs             Show unique IDs of jobs on the server.
  --show-jobs                    Show all jobs on the server.
  --getpid                       Get Process ID for the server.
  --status                       Status for the server.
  --priority-status              Queued jobs status by priority.
  --workers                      Workers for the server.
  -S [ --ssl ]                   Enable SSL connections.
";

/// The options' names, each with its letter and whether it takes a value.
const OPTIONS: [(&str, Option<u8>, bool); 15] = [
    ("cancel-job", None, true),
    ("create-function", None, true),
    ("drop-function", None, true),
    ("getpid", None, false),
    ("help", None, false),
    ("host", Some(b'h'), true),
    ("port", Some(b'p'), true),
    ("priority-status", None, false),
    ("server-verbose", None, false),
    ("server-version", None, false),
    ("show-jobs", None, false),
    ("show-unique-jobs", None, false),
    ("ssl", Some(b'S'), false),
    ("status", None, false),
    ("workers", None, false),
];

/// The admin line of each option, in the order in which the original sends them.
const LINES: [(&str, &str); 11] = [
    ("getpid", "getpid"),
    ("create-function", "create function "),
    ("drop-function", "drop function "),
    ("show-jobs", "show jobs"),
    ("show-unique-jobs", "show unique jobs"),
    ("cancel-job", "cancel job "),
    ("server-verbose", "verbose"),
    ("server-version", "version"),
    ("workers", "workers"),
    ("priority-status", "prioritystatus"),
    ("status", "status"),
];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) help: bool,
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: String,
    /// What is sent, in order.
    pub(super) lines: Vec<Vec<u8>>,
}

/// An option that was given, and its value.
type Given = (&'static str, Vec<u8>);

/// Reads the command line, without the program's name.
///
/// # Errors
/// Boost's words.
pub(super) fn read(args: impl Iterator<Item = Vec<u8>>) -> Result<Options, Vec<u8>> {
    let given = given(args)?;
    let mut names = BTreeSet::new();
    if let Some((name, _)) = given.iter().find(|(name, _)| !names.insert(*name)) {
        return Err(format!("option '--{name}' cannot be specified more than once").into_bytes());
    }
    let value = |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    let text = |name: &str, usual: &str| {
        value(name).map_or_else(|| usual.to_owned(), |value| String::from_utf8_lossy(value).into_owned())
    };
    let lines = LINES.iter().filter_map(|(name, line)| Some([line.as_bytes(), value(name)?].concat()));
    Ok(Options {
        help: value("help").is_some(),
        tls: value("ssl").is_some(),
        host: text("host", "localhost"),
        port: text("port", "4730"),
        lines: lines.collect(),
    })
}

fn given(mut args: impl Iterator<Item = Vec<u8>>) -> Result<Vec<Given>, Vec<u8>> {
    let mut given = Vec::new();
    while let Some(arg) = args.next() {
        match &*arg {
            b"--" => break,
            [b'-', b'-', name @ ..] => given.extend(long(&arg, name, &mut args)?),
            [b'-', _, ..] => short(&arg, &mut args, &mut given)?,
            // Words that are no options are passed over.
            _ => {}
        }
    }
    Ok(given)
}

fn long(arg: &[u8], name: &[u8], args: &mut impl Iterator<Item = Vec<u8>>) -> Result<Option<Given>, Vec<u8>> {
    let (name, adjacent) = match name.iter().position(|&byte| byte == b'=') {
        Some(at) => (&name[..at], Some(&name[at + 1..])),
        None => (name, None),
    };
    if adjacent.is_some_and(<[u8]>::is_empty) {
        let shown = if name.is_empty() { Vec::new() } else { [b" '--", name, b"'"].concat() };
        let rest = b" should follow immediately after the equal sign";
        return Err([b"the argument for option", &*shown, rest].concat());
    }
    if name.is_empty() {
        return Ok(None);
    }
    let (name, takes_value) = find(arg, name)?;
    match adjacent {
        Some(_) if !takes_value => Err(format!("option '--{name}' does not take any arguments").into_bytes()),
        Some(value) => Ok(Some((name, value.to_vec()))),
        None if takes_value => Ok(Some((name, following(name, args)?))),
        None => Ok(Some((name, Vec::new()))),
    }
}

fn find(arg: &[u8], name: &[u8]) -> Result<(&'static str, bool), Vec<u8>> {
    if let Some((name, _, takes_value)) = OPTIONS.iter().find(|(known, ..)| known.as_bytes() == name) {
        return Ok((name, *takes_value));
    }
    let matches: Vec<_> = OPTIONS.iter().filter(|(known, ..)| known.as_bytes().starts_with(name)).collect();
    match &*matches {
        [] => Err(unrecognised(arg)),
        [(name, _, takes_value)] => Ok((name, *takes_value)),
        [others @ .., (last, ..)] => {
            let others: String = others.iter().map(|(name, ..)| format!("'--{name}', ")).collect();
            let name = String::from_utf8_lossy(name);
            Err(format!("option '--{name}' is ambiguous and matches {others}and '--{last}'").into_bytes())
        }
    }
}

fn short(
    arg: &[u8],
    args: &mut impl Iterator<Item = Vec<u8>>,
    given: &mut Vec<Given>,
) -> Result<(), Vec<u8>> {
    let mut letters = &arg[1..];
    while let [letter, rest @ ..] = letters {
        let option = OPTIONS.iter().find(|(_, known, _)| *known == Some(*letter));
        let &(name, _, takes_value) = option.ok_or_else(|| unrecognised(arg))?;
        if !takes_value {
            given.push((name, Vec::new()));
            letters = rest;
            continue;
        }
        let value = if rest.is_empty() { following(name, args)? } else { rest.to_vec() };
        given.push((name, value));
        return Ok(());
    }
    Ok(())
}

// A letter that is an option is no value; a long name is.
fn following(name: &str, args: &mut impl Iterator<Item = Vec<u8>>) -> Result<Vec<u8>, Vec<u8>> {
    let is_letter = |value: &[u8]| matches!(value, [b'-', letter] if OPTIONS.iter().any(|(_, known, _)| *known == Some(*letter)));
    args.next()
        .filter(|value| !is_letter(value))
        .ok_or_else(|| format!("the required argument for option '--{name}' is missing").into_bytes())
}

fn unrecognised(arg: &[u8]) -> Vec<u8> {
    [b"unrecognised option '", arg, b"'"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(args: &[&str]) -> String {
        let args = args.iter().map(|arg| arg.as_bytes().to_vec());
        read(args).map_or_else(|text| String::from_utf8(text).unwrap(), |options| format!("{options:?}"))
    }

    #[test]
    fn mistakes_are_told_in_boosts_words() {
        let cases: [(&[&str], &str); 9] = [
            (&["--bogus=1"], "unrecognised option '--bogus=1'"),
            (&["-Sx"], "unrecognised option '-Sx'"),
            (&["--cr="], "the argument for option '--cr' should follow immediately after the equal sign"),
            (&["--="], "the argument for option should follow immediately after the equal sign"),
            (&["--sta=1"], "option '--status' does not take any arguments"),
            (&["-Sp", "-h"], "the required argument for option '--port' is missing"),
            (&["-p1", "--port", "2"], "option '--port' cannot be specified more than once"),
            (&["--h"], "option '--h' is ambiguous and matches '--help', and '--host'"),
            (&["--c"], "option '--c' is ambiguous and matches '--cancel-job', and '--create-function'"),
        ];
        for (args, text) in cases {
            assert_eq!(wrong(args), text, "{args:?}");
        }
    }

    #[test]
    fn lines_are_sent_in_the_originals_order() {
        let args = ["--stat", "x", "--cancel-job=H:1", "--host", "--help", "--getpid", "--", "--workers"];
        let options = read(args.iter().map(|arg| arg.as_bytes().to_vec())).unwrap();
        assert_eq!((options.help, &*options.host, &*options.port), (false, "--help", "4730"));
        assert_eq!(options.lines, [&b"getpid"[..], b"cancel job H:1", b"status"]);
    }
}
