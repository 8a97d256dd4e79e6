//! A plan as a person reads it: stable text, one line a fact.

use std::fmt::{self, Display, Formatter};

use airssys_wasm::printable;

use super::{Action, AutoscaleChange, ConfigChange, Part, Plan, PlannedRevision, Replacement};
use crate::deployment::autoscale::Autoscale;

/// Most bytes of a row: keys and grants are named in manifests.
const ROW_BYTES_MAX: usize = 16 << 10;

/// Digits of a digest that are shown: more than tell any two of a registry apart.
const DIGITS: usize = 12;

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let application = &self.application;
        if self.is_empty() {
            write!(f, "`{application}`: nothing changes")?;
            return self.show_stopped(f);
        }
        let count = self.steps.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "`{application}`: {count} step{plural}")?;
        for (at, step) in self.steps.iter().enumerate() {
            let number = at + 1;
            if step.parts.len() > 1 && !step.together.is_empty() {
                write!(f, "\n{number:>3}. together")?;
                for why in &step.together {
                    write!(f, "\n       {why}")?;
                }
                for part in &step.parts {
                    write!(f, "\n     - ")?;
                    show(part, f)?;
                }
                continue;
            }
            for (at, part) in step.parts.iter().enumerate() {
                match at {
                    0 => write!(f, "\n{number:>3}. ")?,
                    _ => write!(f, "\n     ")?,
                }
                show(part, f)?;
            }
        }
        if !self.unchanged.is_empty() {
            write!(f, "\nunchanged: {}", self.unchanged.join(", "))?;
        }
        self.show_stopped(f)
    }
}

impl Plan {
    /// What does not run, and what becomes of that.
    fn show_stopped(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for name in &self.stopped {
            let mut parts = self.steps.iter().flat_map(|step| &step.parts);
            let fails = parts.any(|part| part.name == *name && part.action.needs_it_running());
            write!(f, "\nstopped: `{name}` does not run, by hand or for good")?;
            f.write_str(match fails {
                true => {
                    ": the deployment fails at it, and what there was before stays; start the host again first, or take it \
                     out of the manifest"
                }
                false => ", and stays so until the host is started again",
            })?;
        }
        Ok(())
    }
}

impl Display for PlannedRevision {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let hex = self.digest.hex();
        let short = hex.get(..DIGITS).unwrap_or(&hex);
        match &self.version {
            Some(version) => write!(f, "{version} ({short})"),
            None => f.write_str(short),
        }
    }
}

fn show(part: &Part, f: &mut Formatter<'_>) -> fmt::Result {
    let name = &part.name;
    match &part.action {
        Action::Start {
            new,
            grants,
            replicas,
        } => {
            write!(f, "start `{name}` {new}")?;
            if *replicas != 1 {
                write!(f, ", {replicas} replicas")?;
            }
            row(f, "grants", &signed("+", grants))?;
        }
        Action::Replace(replacement) => replace(name, replacement, f)?,
        Action::Reconfigure { config, retuned } => {
            write!(f, "reconfigure `{name}`: its instances are told")?;
            row(f, "config", &keys(config))?;
            row(f, "also", &words(retuned))?;
        }
        Action::Scale { replicas, retuned } => {
            write!(
                f,
                "scale `{name}` from {} to {}",
                replicas.from, replicas.to
            )?;
            row(f, "also", &words(retuned))?;
        }
        Action::Retune { keys } => write!(f, "retune `{name}`: {}", keys.join(", "))?,
        Action::Stop { old } => write!(f, "stop `{name}` {old}, when nothing is undone any more")?,
        Action::RetuneSupervisor { keys } => {
            write!(f, "retune supervisor `{name}`: {}", keys.join(", "))?;
        }
        Action::StartSource => write!(f, "start source `{name}`")?,
        Action::ReplaceSource { keys, anew } => {
            write!(f, "replace source `{name}`: {}", keys.join(", "))?;
            f.write_str(match anew {
                true => "; reads another input",
                false => "; goes on with the next item",
            })?;
        }
        Action::StopSource { early: false } => {
            write!(f, "stop source `{name}`, when nothing is undone any more")?;
        }
        Action::StopSource { early: true } => {
            write!(f, "stop source `{name}`, before what it feeds is replaced")?;
        }
        Action::ChangeReport => write!(f, "change what is asked at the end")?,
    }
    if let Some(AutoscaleChange { from, to }) = &part.autoscale {
        let text = |bounds: &Option<Autoscale>| match bounds {
            Some(bounds) => bounds.to_string(),
            None => "none".to_owned(),
        };
        row(f, "autoscale", &[format!("{} -> {}", text(from), text(to))])?;
    }
    row(f, "callers", &part.callers)
}

fn replace(name: &str, replacement: &Replacement, f: &mut Formatter<'_>) -> fmt::Result {
    let Replacement {
        old,
        new,
        mixed,
        version_goes_back,
        because,
        grants,
        limits,
        config,
        strategy,
        state,
        has_state,
        handles_within: _,
        replicas,
        retuned,
    } = replacement;
    if old == new {
        write!(f, "replace `{name}` {new}")?;
    } else {
        write!(f, "replace `{name}` {old} -> {new}")?;
    }
    if let (true, Some(from), Some(to)) = (version_goes_back, &old.version, &new.version) {
        row(f, "version", &[format!("goes back from {from} to {to}")])?;
    }
    let because: Vec<_> = because.iter().map(|one| one.as_str()).collect();
    row(f, "because", &words(&because))?;
    let mixed = mixed.iter();
    let mixed: Vec<_> = mixed.map(|one| format!("a part may be of {one}")).collect();
    row(f, "mixed", &mixed)?;
    let grants = [
        signed("+", &grants.added),
        signed("-", &grants.removed),
        signed("~", &grants.changed),
    ];
    row(f, "grants", &grants.concat())?;
    let limits: Vec<_> = limits
        .iter()
        .map(|one| format!("{} {} -> {}", one.limit, one.old, one.new))
        .collect();
    row(f, "limits", &limits)?;
    row(f, "config", &keys(config))?;
    if replicas.from != replicas.to {
        let text = format!("{} -> {}", replicas.from, replicas.to);
        row(f, "replicas", &[text])?;
    }
    row(f, "strategy", &[strategy.to_string()])?;
    if *has_state {
        row(f, "state", &[state.as_str().to_owned()])?;
    }
    row(f, "also", &words(retuned))
}

fn keys(config: &ConfigChange) -> Vec<String> {
    let keys = [
        signed("+", &config.added),
        signed("-", &config.removed),
        signed("~", &config.changed),
    ];
    keys.concat()
}

fn words(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn signed(sign: &str, names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("{sign} {name}")).collect()
}

/// One fact on a line of its own, unless there is nothing to it.
fn row(f: &mut Formatter<'_>, title: &str, values: &[String]) -> fmt::Result {
    if values.is_empty() {
        return Ok(());
    }
    let values = printable(&values.join(", "), ROW_BYTES_MAX);
    write!(f, "\n       {title}: {values}")
}
