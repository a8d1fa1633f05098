//! What is run side by side.

use crate::play::{Helper, Input, Script, Step, Tool};

const fn script(name: &'static str, workers: &'static [Helper], steps: &'static [Step]) -> Script {
    Script { name, workers, steps }
}

const fn gearman(args: &'static [&'static str]) -> Step {
    fed(args, b"")
}

const fn fed(args: &'static [&'static str], input: &'static [u8]) -> Step {
    Step { tool: Tool::Gearman, args, input: Input::Bytes(input), env: &[] }
}

const fn binary(args: &'static [&'static str], count: usize) -> Step {
    Step { tool: Tool::Gearman, args, input: Input::Binary(count), env: &[] }
}

const fn told(args: &'static [&'static str], env: &'static [(&'static str, &'static str)]) -> Step {
    Step { tool: Tool::Gearman, args, input: Input::Bytes(b""), env }
}

const fn gearadmin(args: &'static [&'static str]) -> Step {
    Step { tool: Tool::Gearadmin, args, input: Input::Bytes(b""), env: &[] }
}

const fn serves(functions: &'static [&'static str], args: &'static [&'static str]) -> Helper {
    Helper { functions, args, ends: false }
}

const fn ends(functions: &'static [&'static str], args: &'static [&'static str]) -> Helper {
    Helper { functions, args, ends: true }
}

const UPPER: Helper = serves(&["up"], &["--", "tr", "a-z", "A-Z"]);
const CAT: Helper = serves(&["cat"], &["cat"]);
const COUNT: Helper = serves(&["count"], &["--", "wc", "-c"]);
const FAIL: Helper = serves(&["fail"], &["--", "sh", "-c", "cat; echo on stderr >&2; exit 3"]);

/// A function's name of 512 bytes, the longest, and one that is too long.
const LONG_NAME: &str = concat!(
    "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb",
    "ccccccccccccccccddddddddddddddddaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd",
    "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb",
    "ccccccccccccccccddddddddddddddddaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd",
    "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb",
    "ccccccccccccccccdddddddddddddddd",
);
const TOO_LONG_NAME: &str = concat!(
    "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb",
    "ccccccccccccccccddddddddddddddddaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd",
    "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb",
    "ccccccccccccccccddddddddddddddddaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd",
    "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb",
    "ccccccccccccccccdddddddddddddddde",
);
/// A unique of 64 bytes, the longest that is taken, and one that is too long.
const LONG_UNIQUE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TOO_LONG_UNIQUE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefX";

/// The command line of `gearman`: help, mistakes, servers that are not there.
pub(crate) const USAGE: &[Script] = &[
    script(
        "help and mistakes",
        &[],
        &[
            gearman(&[]),
            gearman(&["-H"]),
            gearman(&["-Hv"]),
            gearman(&["-H", "-f", "f"]),
            gearman(&["-f", "f", "-z", "-H"]),
            gearman(&["-w", "-f", "f", "-H", "data"]),
            gearman(&["--help"]),
            gearman(&["--version"]),
            gearman(&["-z"]),
            gearman(&["-z", "-y"]),
            gearman(&["-f"]),
            gearman(&["-f", "f", "-z"]),
            gearman(&["-f", "f", "-p"]),
            gearman(&["-f", "f", "-bz"]),
            gearman(&["--bogus", "-f", "f"]),
            gearman(&["-vbnNw"]),
            gearman(&["-n"]),
            gearman(&["-w"]),
            gearman(&["-w", "cat"]),
            gearman(&["-i", "{dir}/pid"]),
            gearman(&["-i"]),
            gearman(&["data", "more"]),
            gearman(&["--", "-f", "f"]),
        ],
    ),
    script(
        "names and values",
        &[],
        &[
            gearman(&["SERVER", "-f", "", "x"]),
            gearman(&["SERVER", "-f", ""]),
            gearman(&["SERVER", "-f", TOO_LONG_NAME, "x"]),
            gearman(&["SERVER", "-f", LONG_NAME, "-b", "x"]),
            gearman(&["SERVER", "-f", "f", "-u", TOO_LONG_UNIQUE, "x"]),
            gearman(&["SERVER", "-f", "f", "-u", LONG_UNIQUE, "-b", "x"]),
            gearman(&["SERVER", "-f", "f", "-b", ""]),
            gearman(&["SERVER", "-f", "f", "-b", "", "x", ""]),
            gearman(&["SERVER", "-f", "f", "-f", "", "-b", "x"]),
            gearman(&["SERVER", "-w", "-f", "", "-c", "1", "cat"]),
            gearman(&["SERVER", "-w", "-f", TOO_LONG_NAME, "-c", "1", "cat"]),
            gearman(&["SERVER", "-f", "f", "-t", "x", "-b", "d"]),
            gearman(&["SERVER", "-f", "f", "-c", "x", "-b", "d"]),
            gearman(&["-h", "127.0.0.1", "-p", " {port}", "-f", "f", "-b", "d"]),
            gearman(&["-h", "127.0.0.1", "-p", "{port}x", "-f", "f", "-b", "d"]),
            gearman(&["-h", "127.0.0.1", "-p", "1", "-p", "{port}", "-f", "f", "-b", "d"]),
            gearman(&["-p", "{port}", "-f", "f", "-b", "d"]),
            gearman(&["-h", "", "-p", "{port}", "-f", "f", "-b", "d"]),
            gearman(&["SERVER", "-b", "-ff", "d"]),
        ],
    ),
    script(
        "servers that are not there",
        &[],
        &[
            gearman(&["-h", "127.0.0.1", "-p", "{dead}", "-f", "f", "x"]),
            gearman(&["-h", "127.0.0.1", "-p", "{dead}", "-f", "f", "-b", "x", "y"]),
            gearman(&["-h", "127.0.0.1", "-p", "{dead}", "-f", "f", "-f", "g", "x"]),
            gearman(&["-h", "127.0.0.1", "-p", "{dead}", "-f", "f", "-t", "0", "x"]),
            gearman(&["-h", "127.0.0.1", "-p", "{dead}", "-f", "f", "-t", "-5", "x"]),
            gearman(&["-h", "127.0.0.1", "-p", "{dead}", "-f", "f", "-t", "500", "x"]),
            gearman(&["-h", "localhost", "-p", "{dead}", "-f", "f", "x"]),
            gearman(&["-h", "::1", "-p", "{dead}", "-f", "f", "x"]),
            gearman(&["-h", "no.such.host.invalid", "-f", "f", "x"]),
            gearman(&["-h", "no.such.host.invalid", "-p", "{dead}", "-f", "f", "-b", "x", "y"]),
            gearman(&["-h", "127.0.0.1:{port}", "-f", "f", "x"]),
            gearman(&["-h", "a b", "-f", "f", "x"]),
            gearman(&["-h", "127.0.0.1", "-p", "{dead}", "-w", "-f", "f", "-c", "1", "cat"]),
            gearman(&["-h", "127.0.0.1", "-p", "{dead}", "-w", "-f", "f", "-c", "2", "-t", "50", "cat"]),
            gearman(&["-h", "no.such.host.invalid", "-w", "-f", "f", "-c", "1", "cat"]),
        ],
    ),
    script(
        "servers of the environment",
        &[UPPER],
        &[
            told(&["-f", "up", "x"], &[("GEARMAN_SERVER", "127.0.0.1:{port}")]),
            told(&["-f", "up", "x"], &[("GEARMAN_SERVER", "127.0.0.1:{port},")]),
            told(&["-f", "up", "-h", "no.such.host.invalid", "x"], &[("GEARMAN_SERVER", "127.0.0.1:{port}")]),
            told(&["-f", "up", "x"], &[("GEARMAN_SERVER", "127.0.0.1:{dead}")]),
            told(&["-f", "up", "x"], &[("GEARMAN_SERVER", "no.such.host.invalid")]),
            told(&["-f", "up", "x"], &[("GEARMAN_SERVER", "127.0.0.1:{port},no.such.host.invalid:1")]),
            told(&["-f", "up", "x"], &[("GEARMAN_SERVER", "127.0.0.1:{dead}, 127.0.0.1:{port}")]),
            told(&["-f", "up", "x"], &[("GEARMAN_SERVER", "[::1]:{port}")]),
            told(&["-w", "-f", "g", "-c", "1"], &[("GEARMAN_SERVER", "no.such.host.invalid")]),
        ],
    ),
];

/// `gearman` as a client.
pub(crate) const CLIENT: &[Script] = &[
    script(
        "foreground",
        &[UPPER, COUNT],
        &[
            fed(&["SERVER", "-f", "up"], b"hello"),
            fed(&["SERVER", "-f", "up"], b""),
            fed(&["SERVER", "-f", "count", "-s"], b"not read"),
            gearman(&["SERVER", "-f", "up", "one", "two"]),
            gearman(&["SERVER", "-f", "up", "", "x"]),
            gearman(&["one", "SERVER", "two", "-f", "up", "three"]),
            gearman(&["SERVER", "-f", "up", "--", "-f", "up"]),
            fed(&["SERVER", "-f", "up", "-s", "x"], b"not read"),
            fed(&["SERVER", "-fcount", "-sn"], b"not read\n"),
            gearman(&["SERVER", "-I", "-f", "up", "high"]),
            gearman(&["SERVER", "-L", "-f", "up", "low"]),
            gearman(&["SERVER", "-IL", "-f", "up", "both"]),
            gearman(&["SERVER", "-f", "up", "-u", "mine", "x"]),
            gearman(&["SERVER", "-f", "up", "-u", "", "x"]),
            gearman(&["SERVER", "-f", "up", "-u", "-", "x"]),
            gearman(&["SERVER", "-f", "up", "-u", LONG_UNIQUE, "x"]),
            gearman(&["SERVER", "-f", "up", "-t", "30000", "x"]),
            gearman(&["SERVER", "-f", "up", "-c", "1", "x"]),
            gearman(&["SERVER", "-f", "up", "-v", "x"]),
            gearman(&["SERVER", "-f", "up", "-P", "x"]),
            gearman(&["SERVER", "-f", "up", "-vP", "x", "y"]),
            gearman(&["SERVER", "-f", "up", "-i", "{dir}/pid", "x"]),
            gearman(&["SERVER", "-f", "up", "-i", "", "x"]),
            gearman(&["SERVER", "-f", "up", "-i", "/no/such/directory/pid", "x"]),
            gearman(&["SERVER", "-f", "up", "-i", "{dir}", "x"]),
        ],
    ),
    script(
        "line by line",
        &[UPPER],
        &[
            fed(&["SERVER", "-f", "up", "-n"], b"a\nb\n"),
            fed(&["SERVER", "-f", "up", "-n"], b"a\nb"),
            fed(&["SERVER", "-f", "up", "-n"], b""),
            fed(&["SERVER", "-f", "up", "-n"], b"\n"),
            fed(&["SERVER", "-f", "up", "-N"], b"a\nb\n"),
            fed(&["SERVER", "-f", "up", "-N"], b"\n\nx\n"),
            fed(&["SERVER", "-f", "up", "-nP"], b"a\nb\n"),
            fed(&["SERVER", "-f", "up", "-NP"], b"a\nb\n"),
            fed(&["SERVER", "-f", "up", "-Nv"], b"a\nb\n"),
            fed(&["SERVER", "-nb", "-f", "up"], b"a\nb\n"),
            fed(&["SERVER", "-f", "up", "-n", "operand"], b"a\nb\n"),
        ],
    ),
    script(
        "binary and large",
        &[CAT, COUNT],
        &[
            fed(&["SERVER", "-f", "cat"], b"a\0b\xff\r\n\0"),
            fed(&["SERVER", "-f", "cat"], b"\0"),
            // What fits into two pipes: more hangs Debian's worker.
            binary(&["SERVER", "-f", "cat"], 60_000),
            binary(&["SERVER", "-f", "count"], 3_000_000),
        ],
    ),
    script(
        "several functions",
        // One worker: with several, who is done first is nobody's business.
        &[serves(&["one", "two"], &["--", "sh", "-c", "cat; echo"])],
        &[
            gearman(&["SERVER", "-f", "one", "-f", "two", "-P", "x"]),
            gearman(&["SERVER", "-f", "two", "-f", "one", "-P", "x", "y"]),
            gearman(&["SERVER", "-f", "one", "-f", "one", "-P", "x"]),
            gearman(&["SERVER", "-f", "one", "-f", "two", "-u", "same", "-P", "x"]),
        ],
    ),
    script(
        "failure",
        &[FAIL, serves(&["false"], &["false"]), serves(&["lines"], &["-n", "--", "sh", "-c", "cat; exit 1"])],
        &[
            gearman(&["SERVER", "-f", "fail", "x"]),
            gearman(&["SERVER", "-f", "fail", "-P", "x"]),
            gearman(&["SERVER", "-f", "fail", "x", "y"]),
            gearman(&["SERVER", "-f", "fail", "-v", "x"]),
            gearman(&["SERVER", "-f", "fail", "-b", "x"]),
            gearman(&["SERVER", "-f", "false", "x"]),
            fed(&["SERVER", "-f", "false"], b""),
            fed(&["SERVER", "-f", "lines"], b"1\n2\n"),
            fed(&["SERVER", "-f", "false", "-n"], b"1\n2\n"),
        ],
    ),
    script(
        "timeouts",
        &[],
        &[
            gearman(&["SERVER", "-f", "nobody", "-t", "100", "x"]),
            gearman(&["SERVER", "-f", "nobody", "-t", "100", "-v", "x", "y"]),
            gearman(&["SERVER", "-f", "nobody", "-f", "nothing", "-t", "100", "x"]),
            gearman(&["SERVER", "-f", "nobody", "-t", "0", "x"]),
            gearman(&["SERVER", "-f", "nobody", "-t", "0", "-b", "x"]),
        ],
    ),
    script(
        "background",
        &[],
        &[
            gearman(&["SERVER", "-f", "bg", "-b", "-u", "one", "x"]),
            gearman(&["SERVER", "-f", "bg", "-b", "-v", "-u", "two", "x"]),
            gearman(&["SERVER", "-f", "bg", "-bv", "-u", "two", "again"]),
            gearman(&["SERVER", "-f", "bg", "-bvP", "-u", "three", "x", "y"]),
            gearman(&["SERVER", "-f", "bg", "-bI", "-u", "high", "x"]),
            gearman(&["SERVER", "-f", "bg", "-bL", "-u", "low", "x"]),
            fed(&["SERVER", "-f", "bg", "-b", "-u", "empty"], b""),
            fed(&["SERVER", "-f", "bg", "-bs", "-u", "none"], b"x"),
            gearadmin(&["SERVER", "--priority-status"]),
            gearadmin(&["SERVER", "--status"]),
            // The worker that takes them, in their order.
            gearman(&["SERVER", "-w", "-f", "bg", "-c", "7", "--", "sh", "-c", "cat >/dev/null"]),
            gearadmin(&["SERVER", "--status"]),
        ],
    ),
    script(
        "order of priorities",
        &[],
        &[
            gearman(&["SERVER", "-f", "order", "-bL", "low "]),
            gearman(&["SERVER", "-f", "order", "-b", "normal "]),
            gearman(&["SERVER", "-f", "order", "-bI", "high "]),
            gearman(&["SERVER", "-f", "order", "-bI", "high again "]),
            // Without a command a worker prints what it is given.
            gearman(&["SERVER", "-w", "-f", "order", "-c", "4"]),
        ],
    ),
];

/// `gearman -w`, whose own output is looked at as well.
pub(crate) const WORKER: &[Script] = &[
    script(
        "a command",
        &[ends(&["w"], &["-c", "3", "--", "sh", "-c", "cat; echo $# >&2"])],
        &[
            gearman(&["SERVER", "-f", "w", "one"]),
            fed(&["SERVER", "-f", "w"], b""),
            fed(&["SERVER", "-f", "w"], b"binary\0\xff"),
        ],
    ),
    script(
        "without a command",
        &[ends(&["w"], &["-c", "2"])],
        &[gearman(&["SERVER", "-f", "w", "one"]), fed(&["SERVER", "-f", "w"], b"\0two\n")],
    ),
    script(
        "a command without options",
        &[ends(&["w"], &["-c", "1", "cat"])],
        &[gearman(&["SERVER", "-f", "w", "one"])],
    ),
    script(
        "options between the command and its arguments",
        &[ends(&["w"], &["echo", "-c", "1", "argument"])],
        &[gearman(&["SERVER", "-f", "w", "one"])],
    ),
    script(
        "several functions",
        &[ends(&["v", "w"], &["-c", "2", "--", "cat"])],
        &[gearman(&["SERVER", "-f", "w", "one"]), gearman(&["SERVER", "-f", "v", "two"])],
    ),
    script(
        "several workers",
        &[ends(&["w"], &["-c", "1", "--", "cat"]), ends(&["w"], &["-c", "1", "--", "cat"])],
        &[gearman(&["SERVER", "-f", "w", "one"]), gearman(&["SERVER", "-f", "w", "two"])],
    ),
    script(
        "a command that fails counts twice",
        &[ends(&["w"], &["-c", "4", "--", "sh", "-c", "cat; exit 3"])],
        &[gearman(&["SERVER", "-f", "w", "one"]), gearman(&["SERVER", "-f", "w", "two"])],
    ),
    script(
        "the last job fails",
        &[ends(&["w"], &["-c", "1", "false"])],
        &[gearman(&["SERVER", "-f", "w", "one"])],
    ),
    script(
        "every exit code but 0 is a failure",
        &[ends(&["w"], &["-c", "6", "--", "sh", "-c", "exit $(cat)"])],
        &[
            gearman(&["SERVER", "-f", "w", "1"]),
            gearman(&["SERVER", "-f", "w", "255"]),
            gearman(&["SERVER", "-f", "w", "0"]),
            gearman(&["SERVER", "-f", "w", "256"]),
        ],
    ),
    script(
        "a command that does not read",
        &[ends(&["w"], &["-c", "2", "--", "sh", "-c", "exec <&-; echo done"])],
        &[gearman(&["SERVER", "-f", "w", "one"]), binary(&["SERVER", "-f", "w"], 2_000_000)],
    ),
    script(
        "line by line",
        &[ends(&["n"], &["-n", "-c", "4", "--", "cat"]), ends(&["N"], &["-N", "-c", "3", "--", "cat"])],
        &[
            fed(&["SERVER", "-f", "n"], b"1\n2\n3\n"),
            fed(&["SERVER", "-f", "n"], b"1\n2\n3"),
            fed(&["SERVER", "-f", "n"], b"\n\na\n"),
            fed(&["SERVER", "-f", "n", "-P"], b"1\n2\n"),
            fed(&["SERVER", "-f", "N"], b"1\n2\n3\n"),
            fed(&["SERVER", "-f", "N"], b""),
            fed(&["SERVER", "-f", "N"], b"\n\na\n"),
        ],
    ),
    script(
        "line by line without a command",
        &[ends(&["w"], &["-n", "-c", "1"])],
        &[fed(&["SERVER", "-f", "w"], b"1\n2\n")],
    ),
    script(
        "options of clients",
        &[ends(&["w"], &["-bPIvs", "-u", "u", "-c", "1", "--", "cat"])],
        &[gearman(&["SERVER", "-f", "w", "one"])],
    ),
    script(
        "timeouts",
        &[],
        &[
            gearman(&["SERVER", "-w", "-f", "w", "-t", "100", "-c", "1", "cat"]),
            gearman(&["SERVER", "-w", "-f", "w", "-t", "50", "-c", "3", "cat"]),
            gearman(&["SERVER", "-w", "-f", "w", "-t", "0", "-c", "2", "cat"]),
            gearman(&["SERVER", "-w", "-f", "v", "-f", "w", "-i", "{dir}/pid", "-t", "50", "-c", "1", "cat"]),
            gearman(&[
                "SERVER",
                "-w",
                "-f",
                "w",
                "-i",
                "/no/such/directory/pid",
                "-t",
                "50",
                "-c",
                "1",
                "cat",
            ]),
        ],
    ),
];

/// The command line of `gearadmin`, and servers that are not there.
pub(crate) const ADMIN_USAGE: &[Script] = &[
    script(
        "help and mistakes",
        &[],
        &[
            gearadmin(&[]),
            gearadmin(&["--help"]),
            gearadmin(&["--he"]),
            gearadmin(&["--help", "--status"]),
            gearadmin(&["--help", "--bogus"]),
            gearadmin(&["--bogus"]),
            gearadmin(&["--bogus=1"]),
            gearadmin(&["-x"]),
            gearadmin(&["-Sx"]),
            gearadmin(&["-S=1"]),
            gearadmin(&["-xS"]),
            gearadmin(&["--version"]),
            gearadmin(&["--shutdown"]),
            gearadmin(&["--STATUS"]),
            gearadmin(&["---help"]),
            gearadmin(&["status"]),
            gearadmin(&["-"]),
            gearadmin(&["--", "--status"]),
            gearadmin(&["--host"]),
            gearadmin(&["-h"]),
            gearadmin(&["-p"]),
            gearadmin(&["-Sp"]),
            gearadmin(&["-h", "-p", "1"]),
            gearadmin(&["--host", "--help"]),
            gearadmin(&["--create-function"]),
            gearadmin(&["--create"]),
            gearadmin(&["--create-function="]),
            gearadmin(&["--create-function", "-h"]),
            gearadmin(&["--cr="]),
            gearadmin(&["--status=1"]),
            gearadmin(&["--sta=1"]),
            gearadmin(&["--help=1"]),
            gearadmin(&["--getpid="]),
            gearadmin(&["--="]),
            gearadmin(&["--=x"]),
            gearadmin(&["--s"]),
            gearadmin(&["--server-v"]),
            gearadmin(&["--show"]),
            gearadmin(&["--h"]),
            gearadmin(&["--p", "1"]),
            gearadmin(&["--c"]),
            gearadmin(&["--getpid", "--getpid"]),
            gearadmin(&["--getpid", "--getp"]),
            gearadmin(&["-p1", "--port", "2"]),
            gearadmin(&["--host", "a", "-h", "b", "--getpid"]),
            gearadmin(&["-SS"]),
            gearadmin(&["--getpid", "--getpid", "--bogus"]),
        ],
    ),
    script(
        "servers that are not there",
        &[],
        &[
            gearadmin(&["-h", "127.0.0.1", "-p", "{dead}", "--status"]),
            gearadmin(&["-h", "127.0.0.1", "-p", "{dead}", "--getpid", "--status", "--workers"]),
            gearadmin(&["-p", "{dead}", "--status"]),
            gearadmin(&["-h", "::1", "-p", "{dead}", "--status"]),
            gearadmin(&["-h", "no.such.host.invalid", "--status"]),
            gearadmin(&["-h", "", "--status"]),
            gearadmin(&["-p", "x", "--status"]),
            gearadmin(&["-p", "-1", "--status"]),
            gearadmin(&["-p={dead}", "--status"]),
            gearadmin(&["-p", "{port} ", "--status"]),
            gearadmin(&["-h", "127.0.0.1", "-p", "", "--status"]),
            gearadmin(&["-h", "127.0.0.1:{port}", "--status"]),
        ],
    ),
];

/// What `gearadmin` asks a server.
pub(crate) const ADMIN: &[Script] = &[
    script(
        "an empty server",
        &[],
        &[
            gearadmin(&["SERVER", "--status"]),
            gearadmin(&["SERVER", "--priority-status"]),
            gearadmin(&["SERVER", "--workers"]),
            gearadmin(&["SERVER", "--getpid"]),
            gearadmin(&["SERVER", "--server-version"]),
            gearadmin(&["SERVER", "--server-verbose"]),
            gearadmin(&["SERVER", "--show-jobs"]),
            gearadmin(&["SERVER", "--show-unique-jobs"]),
            gearadmin(&["SERVER", "--cancel-job", "H:nowhere:1"]),
            gearadmin(&["SERVER", "--cancel-job", "nonsense"]),
            gearadmin(&["SERVER", "--drop-function", "nothing"]),
        ],
    ),
    script(
        "how it is asked",
        &[],
        &[
            gearadmin(&["-h127.0.0.1", "-p{port}", "--getpid"]),
            gearadmin(&["--host=127.0.0.1", "--port={port}", "--getpid"]),
            gearadmin(&["--ho", "127.0.0.1", "--po", "{port}", "--getp"]),
            gearadmin(&["SERVER", "--getpid", "word"]),
            gearadmin(&["SERVER", "--getpid", "--", "--status"]),
            gearadmin(&["-h", "127.0.0.1", "-p", "+{port}", "--getpid"]),
            gearadmin(&["-h", "127.0.0.1", "-p", " {port}", "--getpid"]),
            gearadmin(&["SERVER", "--status", "--workers", "--getpid"]),
            gearadmin(&[
                "SERVER",
                "--server-version",
                "--server-verbose",
                "--show-jobs",
                "--show-unique-jobs",
            ]),
            gearadmin(&[
                "SERVER",
                "--status",
                "--priority-status",
                "--workers",
                "--server-version",
                "--server-verbose",
                "--cancel-job",
                "H:x:1",
                "--show-unique-jobs",
                "--show-jobs",
                "--drop-function",
                "made",
                "--create-function",
                "made",
                "--getpid",
            ]),
        ],
    ),
    script(
        "functions",
        &[CAT],
        &[
            gearadmin(&["SERVER", "--create-function", "made"]),
            gearadmin(&["SERVER", "--status"]),
            gearadmin(&["SERVER", "--create-function", "made"]),
            gearadmin(&["SERVER", "--drop-function", "made"]),
            gearadmin(&["SERVER", "--drop-function", "made"]),
            gearadmin(&["SERVER", "--drop-function", "cat"]),
            gearadmin(&["SERVER", "--create-function", "--status"]),
            gearadmin(&["SERVER", "--drop-function", "--status"]),
            gearadmin(&["SERVER", "--status"]),
            gearadmin(&["SERVER", "--workers"]),
        ],
    ),
    script(
        "jobs",
        &[],
        &[
            gearman(&["SERVER", "-f", "f", "-bv", "-u", "unique one", "x"]),
            gearadmin(&["SERVER", "--show-jobs"]),
            gearadmin(&["SERVER", "--show-unique-jobs"]),
            gearadmin(&["SERVER", "--status"]),
            gearadmin(&["SERVER", "--priority-status"]),
            gearman(&["SERVER", "-f", "f", "-bI", "x"]),
            gearman(&["SERVER", "-f", "f", "-bL", "x"]),
            gearadmin(&["SERVER", "--priority-status"]),
            gearadmin(&["SERVER", "--status", "--priority-status"]),
        ],
    ),
];
