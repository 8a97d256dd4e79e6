//! Lines in a frame, as SVG: axes with units, a grid, a legend below.
//!
//! Owns scales and ticks. A line's colour and dash come from its place, so that two charts of one page agree.

use std::fmt::Write as _;

use super::escaped;

/// Size of a chart in its own units, which the page stretches to its width.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 400.0;
/// Room for labels.
const LEFT: f64 = 88.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 58.0;

/// Colours in the style sheet.
const COLOURS: usize = 6;

/// How a value becomes a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Evenly.
    Linear,
    /// By its logarithm.
    Log,
    /// A share of the operations: by how rare what is beyond it is, each ten times rarer one step further.
    Percentile,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.max(f64::MIN_POSITIVE).log10(),
            Self::Percentile => -(1.0 - value).max(1e-9).log10(),
        }
    }
}

/// One axis.
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) scale: Scale,
    pub(super) low: f64,
    pub(super) high: f64,
    /// Where there are lines of the grid, and what stands there.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    fn share(&self, value: f64) -> f64 {
        let (low, high) = (self.scale.place(self.low), self.scale.place(self.high));
        let span = (high - low).max(f64::MIN_POSITIVE);
        ((self.scale.place(value) - low) / span).clamp(0.0, 1.0)
    }

    /// Percentiles up to where the rarest of so many operations is.
    pub(super) fn percentiles(operations: u64) -> Self {
        let nines = [
            (0.0, "0"),
            (0.5, "50"),
            (0.9, "90"),
            (0.99, "99"),
            (0.999, "99.9"),
            (0.9999, "99.99"),
            (0.99999, "99.999"),
            (0.999_999, "99.9999"),
            (0.999_999_9, "99.99999"),
        ];
        #[expect(clippy::cast_precision_loss, reason = "a place on a page")]
        let rarest = 1.0 - 1.0 / operations.max(10) as f64;
        let reached = nines.iter().position(|(share, _)| *share >= rarest);
        let shown = reached.map_or(nines.len(), |at| at + 1).max(5);
        let ticks: Vec<_> = nines
            .into_iter()
            .take(shown)
            .map(|(share, text)| (share, format!("{text} %")))
            .collect();
        Self {
            label: "share of the operations that took no longer (each step is ten times rarer)"
                .to_owned(),
            scale: Scale::Percentile,
            low: 0.0,
            high: ticks.last().map_or(0.99, |(share, _)| *share),
            ticks,
        }
    }

    /// A logarithmic axis around these values.
    pub(super) fn log(label: &str, values: &[f64], write: impl Fn(f64) -> String) -> Self {
        let positive = || values.iter().copied().filter(|value| *value > 0.0);
        let low = positive().fold(f64::INFINITY, f64::min);
        let high = positive().fold(0.0, f64::max);
        let (low, high) = if low <= high {
            (low, high)
        } else {
            (1.0, 10.0)
        };
        // A little room, so that no line runs along the frame.
        let (low, high) = (low / 1.15, high * 1.15);
        let decades = high.log10() - low.log10();
        let steps: &[f64] = match decades {
            d if d > 3.5 => &[1.0],
            d if d > 0.8 => &[1.0, 2.0, 5.0],
            _ => &[1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
        };
        let mut ticks = Vec::new();
        let mut decade = 10_f64.powf(low.log10().floor());
        while decade <= high {
            for step in steps {
                let value = decade * step;
                if value >= low && value <= high {
                    ticks.push((value, write(value)));
                }
            }
            decade *= 10.0;
        }
        Self {
            label: label.to_owned(),
            scale: Scale::Log,
            low,
            high,
            ticks,
        }
    }

    /// An even axis from zero.
    pub(super) fn from_zero(label: &str, high: f64, write: impl Fn(f64) -> String) -> Self {
        let high = if high > 0.0 { high * 1.08 } else { 1.0 };
        let step = round_step(high / 5.0);
        let mut ticks = Vec::new();
        let mut value = 0.0;
        while value <= high {
            ticks.push((value, write(value)));
            value += step;
        }
        Self {
            label: label.to_owned(),
            scale: Scale::Linear,
            low: 0.0,
            high,
            ticks,
        }
    }
}

/// 1, 2 or 5 times a power of ten, not below `rough`.
fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(power * 10.0)
}

/// One line.
pub(super) struct Line {
    pub(super) label: String,
    /// Its colour's place; the same in every chart of a page.
    pub(super) colour: usize,
    pub(super) dashed: bool,
    pub(super) points: Vec<(f64, f64)>,
}

/// Draws the lines. `title` is for those who cannot see them.
pub(super) fn draw(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let at_x = |value: f64| LEFT + x.share(value) * (right - LEFT);
    let at_y = |value: f64| bottom - y.share(value) * (bottom - TOP);
    let title = escaped(title);
    let mut svg = format!(
        "<figure>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n"
    );
    for (value, text) in &y.ticks {
        let at = at_y(*value);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            at + 4.5,
            escaped(text)
        );
    }
    for (value, text) in &x.ticks {
        let at = at_x(*value);
        // The last one would reach over the edge.
        let anchor = if at > right - 1.0 { "end" } else { "middle" };
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"axis\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            bottom + 19.0,
            escaped(text)
        );
    }
    let _ = writeln!(
        svg,
        "<rect class=\"frame\" x=\"{LEFT}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
         <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        right - LEFT,
        bottom - TOP,
        f64::midpoint(LEFT, right),
        HEIGHT - 12.0,
        escaped(&x.label),
        f64::midpoint(TOP, bottom),
        escaped(&y.label)
    );
    for line in lines {
        let mut path = String::new();
        for (at, (px, py)) in line.points.iter().enumerate() {
            let command = if at == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", at_x(*px), at_y(*py));
        }
        let _ = writeln!(svg, "<path class=\"{}\" d=\"{path}\"/>", class(line));
    }
    svg.push_str("</svg>\n<figcaption>");
    for line in lines {
        let _ = write!(
            svg,
            "<span><svg viewBox=\"0 0 30 8\" aria-hidden=\"true\"><path class=\"{}\" d=\"M0 4L30 4\"/></svg>{}</span>",
            class(line),
            escaped(&line.label)
        );
    }
    svg.push_str("</figcaption>\n</figure>\n");
    svg
}

fn class(line: &Line) -> String {
    // The seventh line has the first one's colour again, and is dashed.
    let dashed = line.dashed || (line.colour / COLOURS) % 2 == 1;
    let dash = if dashed { " dashed" } else { "" };
    format!("series k{}{dash}", line.colour % COLOURS)
}
