//! The reverse example of PHP's manual, as it stands: client and worker know no
//! address but the default one, and the server is started without options that
//! would tell it another.

use crate::languages::source;
use crate::network::Network;
use crate::support::server::is_root;
use crate::support::{Kind, Peers, Process, wait_until};
use std::process::Command;

fn server(kind: Kind) -> Command {
    let mut command = match kind {
        Kind::Gearshard => Command::new(env!("CARGO_BIN_EXE_gearshard")),
        Kind::Gearmand => Peers::require().gearmand(),
    };
    command.args(["--pid-file=server.pid", "--log-file=server.log"]);
    if kind == Kind::Gearmand && is_root() {
        command.args(["-u", "root"]);
    }
    command
}

fn status(network: &Network) -> String {
    let mut command = Peers::require().gearadmin();
    command.arg("--status");
    Process::run(network.inside(command), b"").text()
}

fn php(network: &Network, script: &str) -> Command {
    let mut command = Peers::require().php();
    command.arg(source(script));
    network.inside(command)
}

fn reverse(kind: Kind) {
    let network = Network::new();
    let mut server = Process::start(network.inside(server(kind)), b"");
    wait_until("the server answers", || {
        let ended = server.exit_status();
        assert!(ended.is_none(), "{ended:?}\n{}{}", server.stdout(), server.stderr());
        status(&network).ends_with(".\n")
    });
    // The first client comes before there is a worker.
    let mut early = Process::start(php(&network, "reverse_client.php"), b"");
    wait_until("the job is queued", || status(&network).contains("reverse\t1\t0\t0\n"));
    let _worker = Process::start(php(&network, "reverse_worker.php"), b"");
    assert!(early.wait(crate::support::DEADLINE).success());
    assert_eq!(early.stdout(), "!dlroW olleH");
    for _ in 0..3 {
        let client = Process::run(php(&network, "reverse_client.php"), b"").success();
        assert_eq!(client.text(), "!dlroW olleH", "{}", client.stderr);
    }
    assert!(status(&network).contains("reverse\t0\t0\t1\n"));
}

#[test]
fn the_reverse_example_runs_as_it_stands_on_gearshard() {
    reverse(Kind::Gearshard);
}

#[test]
fn the_reverse_example_runs_as_it_stands_on_gearmand() {
    reverse(Kind::Gearmand);
}
