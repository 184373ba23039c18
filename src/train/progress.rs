//! Progress bars: drawn on standard error where that is a terminal, silent elsewhere.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

fn styled(bar: ProgressBar, template: &str, message: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("a constant template");
    // Whole numbers: digits behind the point change with every look and take room.
    let style = style.with_key("rate", |state: &ProgressState, text: &mut dyn Write| {
        let _ = write!(text, "{:.0}/s", state.per_sec());
    });
    bar.set_style(style.progress_chars("=> "));
    bar.set_message(message.to_string());
    bar
}

/// A bar over `total` bytes.
pub fn bytes(total: u64, message: &str) -> ProgressBar {
    let template = "{msg} [{wide_bar}] {bytes}/{total_bytes} {eta}";
    styled(ProgressBar::new(total), template, message)
}

/// A bar over thousandths of a task.
pub fn share(message: &str) -> ProgressBar {
    styled(ProgressBar::new(1000), "{msg} [{wide_bar}] {percent} % {eta} left", message)
}

/// A counter without a known end.
pub fn spinner(message: &str) -> ProgressBar {
    let bar = styled(ProgressBar::new_spinner(), "{spinner} {msg} {pos} {rate}", message);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A bar over the reviews of one epoch, of which `seen` were met before a stop; loss and accuracy as its message.
pub fn epoch(reviews: usize, seen: u64, epoch: usize, epochs: usize) -> ProgressBar {
    let template = "{prefix} [{wide_bar}] {percent} % {msg} {rate} {eta}";
    let bar = styled(ProgressBar::new(reviews as u64), template, "");
    bar.set_prefix(format!("{epoch}/{epochs}"));
    // What was met before took no time of this run; it is looked at before the clock starts.
    bar.set_position(seen);
    bar.tick();
    bar.reset_eta();
    bar.reset_elapsed();
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_a_resumed_epoch_is_that_of_this_run() {
        let bar = epoch(1_000_000, 900_000, 2, 3);
        std::thread::sleep(Duration::from_millis(30));
        bar.inc(1);
        bar.tick();
        assert!(bar.per_sec() < 10_000.0, "{}", bar.per_sec());
    }
}
