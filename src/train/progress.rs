//! Progress bars: drawn on standard error where that is a terminal, silent elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

fn styled(bar: ProgressBar, template: &str, message: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("a constant template");
    bar.set_style(style.progress_chars("=> "));
    bar.set_message(message.to_string());
    bar
}

/// A bar over `total` bytes.
pub fn bytes(total: u64, message: &str) -> ProgressBar {
    let template = "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    styled(ProgressBar::new(total), template, message)
}

/// A bar over thousandths of a task.
pub fn share(message: &str) -> ProgressBar {
    styled(ProgressBar::new(1000), "{msg} [{wide_bar}] {percent} % {eta} left", message)
}

/// A counter without a known end.
pub fn spinner(message: &str) -> ProgressBar {
    let bar = styled(ProgressBar::new_spinner(), "{spinner} {msg} {pos} {per_sec}", message);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A bar over the reviews of one epoch, loss and accuracy as its message.
pub fn epoch(reviews: usize, epoch: usize, epochs: usize) -> ProgressBar {
    let template = "epoch {prefix} [{wide_bar}] {pos}/{len} {msg} {per_sec} {eta} left";
    let bar = styled(ProgressBar::new(reviews as u64), template, "");
    bar.set_prefix(format!("{epoch}/{epochs}"));
    bar
}
