//! Reports as one HTML file each: text, tables and SVG, nothing that is fetched and no script.
//!
//! Owns the page around them and its colours, in light and in dark. Whatever comes from a report is escaped: names of
//! actors and functions are their authors'.

mod chart;
mod comparison;
mod load;
mod rows;

use std::fmt::Write as _;

use crate::compare::Comparison;
use crate::load::LoadReport;
use crate::machine::Machine;
use crate::report::Report;

/// Colours with names; the six of lines keep a contrast of 4.5 to their background, and differ for the colour-blind.
const STYLE: &str = include_str!("html/style.css");

impl LoadReport {
    /// The report as a page.
    #[must_use]
    pub fn to_html(&self) -> String {
        page(
            &format!("airssys bench {}", self.plan.scenario),
            &load::body(self),
        )
    }
}

impl Report {
    /// The report as a page.
    #[must_use]
    pub fn to_html(&self) -> String {
        page("airssys bench: rows", &rows::body(self))
    }
}

impl Comparison {
    /// The comparison as a page.
    #[must_use]
    pub fn to_html(&self) -> String {
        page("airssys bench compare", &comparison::body(self))
    }
}

fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// Text that stays text, in an element and in an attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// What a column's cells are.
#[derive(Clone, Copy, PartialEq)]
enum Cells {
    Text,
    Figures,
}

/// A table of escaped text. A cell that begins with one of these words has its class.
fn table(heads: &[(&str, Cells)], lines: &[Vec<String>]) -> String {
    let class = |kind| match kind {
        Cells::Text => "",
        Cells::Figures => " class=\"figure\"",
    };
    let mut html = String::from("<div class=\"wide\"><table>\n<thead><tr>");
    for (head, kind) in heads {
        let _ = write!(
            html,
            "<th scope=\"col\"{}>{}</th>",
            class(*kind),
            escaped(head)
        );
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for line in lines {
        html.push_str("<tr>");
        for (cell, (_, kind)) in line.iter().zip(heads) {
            let _ = write!(html, "<td{}>{}</td>", class(*kind), marked(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

/// A verdict stands out by its colour too, never by its colour alone.
fn marked(cell: &str) -> String {
    let text = escaped(cell);
    let class = match cell {
        "better" => "good",
        "worse" => "bad",
        _ if cell.contains("MISSED") => "bad",
        _ if cell.ends_with("met") => "good",
        _ => return text,
    };
    format!("<strong class=\"{class}\">{text}</strong>")
}

fn machine(machine: &Machine) -> String {
    let facts = [
        (
            "Processors",
            format!("{} × {}", machine.cpus, machine.model),
        ),
        ("Memory", format!("{:.1} GiB", gib(machine.memory_kib))),
        ("Kernel", format!("Linux {}", machine.kernel)),
        ("Compiler", machine.rustc.clone()),
        (
            "Versions",
            format!(
                "wasmtime {}, ractor {}, tokio {}",
                machine.wasmtime, machine.ractor, machine.tokio
            ),
        ),
        (
            "Build",
            format!("{}, opt-level {}", machine.profile, machine.opt_level),
        ),
        (
            "Load average at the start",
            format!("{:.2}", machine.load_average),
        ),
    ];
    let mut html = String::from("<dl>\n");
    for (name, value) in facts {
        let _ = writeln!(
            html,
            "<div><dt>{name}</dt><dd>{}</dd></div>",
            escaped(&value)
        );
    }
    html.push_str("</dl>\n");
    html
}

fn gib(kib: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let kib = kib as f64;
    kib / 1_048_576.0
}

/// What must be known before any figure is read.
fn warning(machine: &Machine) -> String {
    if machine.debug_assertions {
        note("A build without optimisation: the figures are meaningless.")
    } else {
        String::new()
    }
}

/// A remark that must not be overlooked.
fn note(text: &str) -> String {
    format!("<p class=\"note\">{}</p>\n", escaped(text))
}

#[cfg(test)]
mod tests;
