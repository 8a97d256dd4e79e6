//! What is shown while something takes long: on standard error, on a terminal only, never with `--quiet`.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use airssys_wasm_actors::{Loading, LoadingObserver};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::text::printable;

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// A line that says what is being done; it is gone when this is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        let bar = ProgressBar::new_spinner();
        bar.set_draw_target(if shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        });
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        if shown {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    pub(crate) fn say(&self, what: String) {
        self.0.set_message(what);
    }

    /// A line that stays, on standard error whatever that is.
    pub(crate) fn note(&self, what: &str) {
        let line = format!("note: {}\n", printable(what));
        // If standard error is gone there is nobody to tell.
        let _ = self
            .0
            .suspend(|| std::io::stderr().write_all(line.as_bytes()));
    }

    /// What `resolve` reports to.
    pub(crate) fn loading(&self) -> LoadingObserver {
        let bar = self.0.clone();
        Box::new(move |loading| match loading {
            Loading::Begin { name, index, count } => {
                bar.set_message(format!("loading {name} ({} of {count})", index + 1));
            }
            Loading::Done => bar.set_message("starting"),
            _ => {}
        })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
