//! The progress of a training run on standard error: a bar on a terminal, else a line every few seconds.

use crate::number::fixed;
use crate::terminal;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between progress lines if standard error is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// The progress of one run.
pub struct Progress {
    steps: u64,
    view: View,
    first: Option<(Instant, u64)>,
    tokens: u64,
}

enum View {
    /// The bar appears with the first step.
    Bar(Option<ProgressBar>),
    Lines {
        last: Option<Instant>,
    },
    Nothing,
}

impl Progress {
    /// Progress of a run of `steps` steps. Shows nothing if not `enabled`.
    pub fn new(steps: u64, enabled: bool) -> Self {
        let view = match (enabled, std::io::stderr().is_terminal()) {
            (false, _) => View::Nothing,
            (true, true) => View::Bar(None),
            (true, false) => View::Lines { last: None },
        };
        Self { steps, view, first: None, tokens: 0 }
    }

    /// Reports that step `step` (from 1) is done, on `tokens` tokens, 0 if steps have none. `metrics` are shown in their order.
    pub fn step(&mut self, step: u64, metrics: &[(&str, f64)], tokens: usize) {
        // The first step warms up caches and pools, so its time does not count.
        match self.first {
            None => self.first = Some((Instant::now(), step)),
            Some(_) => self.tokens += tokens as u64,
        }
        let (speed, left) = self.speed(step);
        let mut text = String::new();
        for (name, value) in metrics {
            let _ = write!(text, "{name} {}  ", fixed(*value, 4));
        }
        if let Some(speed) = speed.filter(|_| self.tokens > 0) {
            let _ = write!(text, "{speed:.0} tokens/s");
        }
        match &mut self.view {
            View::Nothing => {}
            View::Bar(shown) => {
                let bar = shown.get_or_insert_with(|| bar(self.steps));
                bar.set_position(step);
                bar.set_message(format!("{text}{}", left.map_or(String::new(), |left| format!("  {} left", short(left)))));
            }
            View::Lines { last } => {
                if step == self.steps || last.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) {
                    *last = Some(Instant::now());
                    let left = left.map_or(String::new(), |left| format!("  {} left", short(left)));
                    terminal::say(&format!("step {step}/{}  {text}{left}", self.steps));
                }
            }
        }
    }

    /// Shows a line, above the bar if there is one.
    pub fn line(&self, text: &str) {
        match &self.view {
            View::Bar(Some(bar)) => bar.println(terminal::shown(text)),
            View::Bar(None) | View::Lines { .. } => terminal::say(text),
            View::Nothing => {}
        }
    }

    /// Shows a warning, even if progress is disabled.
    pub fn warn(&self, text: &str) {
        let line = terminal::line(&format!("warning: {text}"));
        match &self.view {
            View::Bar(Some(bar)) => bar.println(line),
            View::Bar(None) | View::Lines { .. } | View::Nothing => terminal::say(&line),
        }
    }

    /// Shows requested lines, even if progress is disabled.
    pub fn note(&self, text: &str) {
        match &self.view {
            View::Bar(Some(bar)) => bar.println(terminal::shown(text)),
            View::Bar(None) | View::Lines { .. } | View::Nothing => terminal::say(text),
        }
    }

    /// Ends the bar and leaves its last state on the screen.
    pub fn finish(&self) {
        if let View::Bar(Some(bar)) = &self.view {
            bar.abandon();
        }
    }

    /// Returns tokens per second and the remaining time, from the second step on.
    fn speed(&self, step: u64) -> (Option<f64>, Option<Duration>) {
        let Some((start, first)) = self.first.filter(|(_, first)| step > *first) else { return (None, None) };
        let seconds = start.elapsed().as_secs_f64().max(1e-9);
        let left = seconds / (step - first) as f64 * self.steps.saturating_sub(step) as f64;
        (Some(self.tokens as f64 / seconds), Some(Duration::from_secs_f64(left)))
    }
}

fn bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(10));
    // The template is a constant, and a bar without it is still a bar.
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len}  {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

/// Formats a duration as `1h 05m`, `3m 20s` or `12s`.
fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}
