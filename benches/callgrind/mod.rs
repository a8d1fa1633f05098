//! Instructions of a program, counted by valgrind's callgrind.
//!
//! The counts are the same in every run: the environment, and with it where
//! the stack begins, is fixed, addresses are not randomised under valgrind, and
//! the C library is told to do without the instructions that not every
//! processor has. So tables that are seeded at random are seeded alike, too, as
//! long as the program stays the same; the index of uniques, whose growth shows,
//! is used with known hashes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::works::{FEW, MANY, Work};

/// What the C library would use where there is it.
const PLAIN_PROCESSOR: &str =
    "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX_Fast_Unaligned_Load,-BMI2,-ERMS,-FSRM,-RTM";

/// Tells this program, when it runs under valgrind, what to do and how often.
const WORK: &str = "GEARSHARD_WORK";

/// A valgrind, and where it puts its reports.
pub(crate) struct Callgrind {
    program: PathBuf,
    library: Option<PathBuf>,
    reports: PathBuf,
}

impl Callgrind {
    /// The valgrind that `tests/run` has unpacked under `target/peers`.
    pub(crate) fn unpacked() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/usr");
        // Not the script beside it, which looks for its program elsewhere.
        let program = root.join("bin/valgrind.bin");
        if !program.exists() {
            let program = program.display();
            return Err(format!("{program} is missing: run `tests/run --setup` first, it fetches valgrind"));
        }
        Ok(Self { program, library: Some(root.join("libexec/valgrind")), reports: reports()? })
    }

    /// That one, or else the machine's own.
    #[allow(dead_code, reason = "the test takes nothing but the unpacked one")]
    pub(crate) fn any() -> Result<Self, String> {
        Self::unpacked()
            .or_else(|_| Ok(Self { program: "valgrind".into(), library: None, reports: reports()? }))
    }

    /// Where the report on a work is, for `callgrind_annotate`.
    pub(crate) fn report(&self, work: &Work) -> PathBuf {
        self.reports.join(work.name)
    }

    /// Instructions of one round of `work`.
    pub(crate) fn count(&self, work: &Work) -> Result<u64, String> {
        let few = self.count_all(work, FEW)?;
        let many = self.count_all(work, MANY)?;
        Ok(many.saturating_sub(few) / (MANY - FEW))
    }

    /// Runs this program under callgrind and reads how many instructions it took.
    fn count_all(&self, work: &Work, count: u64) -> Result<u64, String> {
        let itself = std::env::current_exe().map_err(|error| error.to_string())?;
        let report = self.report(work);
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("GLIBC_TUNABLES", PLAIN_PROCESSOR);
        command.env(WORK, format!("{} {count}", work.name));
        if let Some(library) = &self.library {
            command.env("VALGRIND_LIB", library);
        }
        let output = command
            .args(["--tool=callgrind", "--quiet"])
            .arg(format!("--callgrind-out-file={}", report.display()))
            .arg(itself)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("valgrind cannot be run: {error}; apt-get install valgrind"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: valgrind ended with {}: {said}", work.name, output.status));
        }
        let text = std::fs::read_to_string(&report).map_err(|error| error.to_string())?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        total
            .and_then(|total| total.trim().parse().ok())
            .ok_or_else(|| format!("{}: callgrind wrote no total into {}", work.name, report.display()))
    }
}

/// A folder for reports, beside the program.
fn reports() -> Result<PathBuf, String> {
    let itself = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = itself.with_extension("callgrind");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// Whether this program runs under valgrind; then the work is done.
pub(crate) fn is_counted(works: &[Work]) -> bool {
    let Some(wanted) = std::env::var_os(WORK) else { return false };
    let wanted = wanted.into_string().expect("names of works are text");
    let (name, count) = wanted.split_once(' ').expect("the name and the count are told together");
    let work = works.iter().find(|work| work.name == name).expect("this program has told it to itself");
    work.run(count.parse().expect("the count is a number"));
    true
}
