//! The load generator, built like the server under test and beside it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Its path, after building it.
pub fn loadgen() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = Path::new(env!("CARGO_BIN_EXE_gearshard")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "-p", "gearshard-loadgen"]);
        cargo.arg("--target-dir").arg(directory.parent().unwrap());
        let profile = directory.file_name().unwrap().to_str().unwrap();
        cargo.args(["--profile", if profile == "debug" { "dev" } else { profile }]);
        assert!(cargo.status().unwrap().success(), "the load generator does not build");
        directory.join("gearshard-loadgen")
    })
}
