//! A bar on standard error while something takes long; nothing where that is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the bar is drawn though nothing changes.
const TICK: Duration = Duration::from_millis(200);

/// A bar of something whose length is told later.
pub(super) fn waiting(quiet: bool) -> ProgressBar {
    styled(quiet, "{elapsed_precise} [{wide_bar}] {pos}/{len} {msg}")
}

/// A count of something whose length is not known.
pub(super) fn counting(quiet: bool) -> ProgressBar {
    styled(quiet, "{elapsed_precise} {spinner} {pos} done, {per_sec} {msg}")
}

fn styled(quiet: bool, template: &str) -> ProgressBar {
    // Where standard error is no terminal, it draws nothing.
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    let style = ProgressStyle::with_template(template).expect("the templates above are well formed");
    bar.set_style(style.progress_chars("=> "));
    bar.enable_steady_tick(TICK);
    bar
}
