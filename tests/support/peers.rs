//! Where the foreign programs are: Debian's gearmand, its tools and the client
//! libraries, unpacked under `target/peers` by `tests/run`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's name for this machine's architecture.
pub const TRIPLET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };

/// The unpacked packages.
#[derive(Clone, Debug)]
pub struct Peers {
    root: PathBuf,
}

impl Peers {
    /// Finds them, or fails: a test that needs a peer is never skipped.
    pub fn require() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
        assert!(
            root.join(".complete").exists(),
            "the peers are not in {}: run `tests/run --setup` first, it fetches them",
            root.display()
        );
        Self { root }
    }

    /// A file of the unpacked packages, such as `usr/bin/gearman`.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// Where the unpacked libraries are, for `LD_LIBRARY_PATH`.
    pub fn library_path(&self) -> OsString {
        let directories = ["usr/lib", "lib"].map(|parent| self.path(parent).join(TRIPLET));
        std::env::join_paths(directories).expect("the path to target/peers holds no colon")
    }

    /// A command that runs with the unpacked libraries.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env("LD_LIBRARY_PATH", self.library_path());
        command
    }

    /// Debian's server.
    pub fn gearmand(&self) -> Command {
        self.command(self.path("usr/sbin/gearmand"))
    }

    /// The `gearman` tool: client and worker on the command line.
    pub fn gearman(&self) -> Command {
        self.command(self.path("usr/bin/gearman"))
    }

    /// The `gearadmin` tool.
    pub fn gearadmin(&self) -> Command {
        self.command(self.path("usr/bin/gearadmin"))
    }

    /// PHP with the gearman extension and nothing else, whatever the machine's php.ini says.
    pub fn php(&self) -> Command {
        let mut command = self.command(self.path("usr/bin/php8.2"));
        let mut directory = OsString::from("extension_dir=");
        directory.push(self.path("usr/lib/php/20220829"));
        command.arg("-n").arg("-d").arg(directory).args(["-d", "extension=gearman.so"]);
        command
    }

    /// Perl with `Gearman::Client` and `Gearman::Worker`.
    pub fn perl(&self) -> Command {
        let mut command = self.command("/usr/bin/perl");
        let libraries = self.path("usr/lib").join(TRIPLET);
        let directories = [
            self.path("usr/share/perl5"),
            libraries.join("perl5/5.36"),
            self.path("usr/share/perl/5.36"),
            libraries.join("perl/5.36"),
        ];
        let joined = std::env::join_paths(directories).expect("the path to target/peers holds no colon");
        command.env("PERL5LIB", joined);
        command
    }

    /// Python with the `gear` library.
    pub fn python(&self) -> Command {
        let system = Path::new("/usr/bin/python3");
        let mut command = if system.exists() {
            self.command(system)
        } else {
            let mut command = self.command(self.path("usr/bin/python3"));
            command.env("PYTHONHOME", self.path("usr"));
            command
        };
        command.env("PYTHONPATH", self.path("python")).arg("-u");
        command
    }
}
