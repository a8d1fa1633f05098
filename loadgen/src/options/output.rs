//! Where the report goes, and in which forms.

use std::path::PathBuf;

use clap::Args;

/// Where the report goes. The summary for people goes to standard output
/// unless the JSON does.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Output {
    /// Print the report as JSON instead of the summary, or write it to FILE beside the summary
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-", help_heading = "Output")]
    pub(crate) json: Option<PathBuf>,
    /// Write one self-contained HTML page with plots, for the screen and for paper
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) html: Option<PathBuf>,
    /// Write the phases as CSV, a row each
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) csv: Option<PathBuf>,
    /// Write the course of the phases as CSV, a row an interval
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) csv_intervals: Option<PathBuf>,
    /// Write the latency by percentile, in milliseconds, as HDR plotters read it; with several distributions one FILE-PHASE each
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) hgrm: Option<PathBuf>,
    /// Write the latencies of all intervals, in nanoseconds, as an HDR histogram log (V2)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) hlog: Option<PathBuf>,
}
