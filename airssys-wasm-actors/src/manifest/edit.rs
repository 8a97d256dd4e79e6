//! A manifest with one value changed, and everything else as its author wrote it.
//!
//! Owns [`ApplicationSpec::with_replicas`]. The text is changed and read again, so that what is recorded of a deployment is
//! what a file could say; comments and order stay.

use toml::Spanned;

use super::{ApplicationSpec, ComponentSpec};
use crate::deployment::Autoscale;

/// Why a manifest cannot be changed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", self.what(), self.remedy().map(|remedy| format!("; {remedy}")).unwrap_or_default())]
#[non_exhaustive]
pub enum EditError {
    /// It has no such component.
    NoSuchComponent {
        /// What was asked for.
        name: String,
        /// What there is, those that others start left out.
        known: Vec<String>,
    },
    /// Others start it, as often as they need it.
    Spawned(String),
    /// Their number follows what they have to do.
    Autoscaled {
        /// The component.
        name: String,
        /// The fewest replicas.
        min: u32,
        /// The most.
        max: u32,
    },
    /// The text takes no other value there.
    Text {
        /// The component.
        name: String,
        /// What was to be said.
        replicas: u32,
    },
}

impl EditError {
    /// What is the matter.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::NoSuchComponent { name, .. } => format!("there is no component `{name}`"),
            Self::Spawned(name) => {
                format!("`{name}` is started by other components, as often as they need it")
            }
            Self::Autoscaled { name, min, max } => format!(
                "`{name}` is autoscaled, from {min} to {max} replicas, and what it is set to would not stay"
            ),
            Self::Text { .. } => "the manifest cannot be changed by itself".to_owned(),
        }
    }

    /// What to do about it, where something can be done.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NoSuchComponent { known, .. } => format!("there are: {}", known.join(", ")),
            Self::Spawned(_) => return None,
            Self::Autoscaled { name, .. } => format!(
                "change `min` and `max` in `[components.{name}.autoscale]` and deploy it, or take that table out to set the \
                 number by hand"
            ),
            Self::Text { name, replicas } => {
                format!("say `replicas = {replicas}` in `[components.{name}]` and deploy it")
            }
        })
    }
}

impl ApplicationSpec {
    /// The same manifest with so many `replicas` of one component.
    ///
    /// # Errors
    /// [`EditError`].
    pub fn with_replicas(&self, name: &str, replicas: u32) -> Result<Self, EditError> {
        let Some(component) = self.component(name) else {
            let all = self.tables.components.iter();
            let known = all.filter(|(_, one)| !one.spawned);
            return Err(EditError::NoSuchComponent {
                name: name.to_owned(),
                known: known.map(|(name, _)| name.get_ref().clone()).collect(),
            });
        };
        if component.spawned {
            return Err(EditError::Spawned(name.to_owned()));
        }
        if let Some(table) = &component.autoscale {
            let Autoscale { min, max, .. } = table.get_ref().autoscale();
            let name = name.to_owned();
            return Err(EditError::Autoscaled { name, min, max });
        }
        // A table takes a line of its own, and one in braces an entry; which of them it is shows when it is read again.
        let edits = match &component.replicas {
            Some(said) => vec![(said.span(), replicas.to_string())],
            None => {
                let end = component.file.span().end;
                let line = format!("\nreplicas = {replicas}");
                vec![
                    (end..end, line),
                    (end..end, format!(", replicas = {replicas}")),
                ]
            }
        };
        let said = |spec: &Self| {
            let said = spec.component(name)?.replicas.as_ref()?;
            Some(*said.get_ref())
        };
        let mut edited = edits.into_iter().filter_map(|(place, word)| {
            let (before, after) = (self.text.get(..place.start)?, self.text.get(place.end..)?);
            let text = format!("{before}{word}{after}");
            Self::parse(self.file.clone(), text).ok()
        });
        let found = edited.find(|spec| said(spec) == Some(replicas));
        found.ok_or_else(|| EditError::Text {
            name: name.to_owned(),
            replicas,
        })
    }

    pub(crate) fn component(&self, name: &str) -> Option<&ComponentSpec> {
        let mut all = self.tables.components.iter();
        let found = all.find(|(known, _): &(&Spanned<String>, _)| known.get_ref() == name);
        found.map(|(_, component)| component)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(components: &str) -> ApplicationSpec {
        let text = format!("[application]\nname = \"app\"\n{components}");
        ApplicationSpec::parse("airssys.toml".into(), text).unwrap()
    }

    #[test]
    fn one_number_is_changed_and_nothing_else() {
        for (before, after) in [
            (
                "[components.a]\nfile = \"a.wasm\" # It.\nreplicas = 2 # Two.\n[components.b]\nfile = \"b.wasm\"\n",
                "[components.a]\nfile = \"a.wasm\" # It.\nreplicas = 7 # Two.\n[components.b]\nfile = \"b.wasm\"\n",
            ),
            (
                "[components.a]\nfile = \"a.wasm\" # It.\nstateless = true\n",
                "[components.a]\nfile = \"a.wasm\"\nreplicas = 7 # It.\nstateless = true\n",
            ),
            (
                "[components]\na = { file = \"a.wasm\", stateless = true }\n",
                "[components]\na = { file = \"a.wasm\", replicas = 7, stateless = true }\n",
            ),
        ] {
            let edited = spec(before).with_replicas("a", 7).unwrap();
            assert!(edited.text.ends_with(after), "{}", edited.text);
            let again = edited.with_replicas("a", 1).unwrap();
            assert_eq!(
                again
                    .component("a")
                    .unwrap()
                    .replicas
                    .as_ref()
                    .unwrap()
                    .get_ref(),
                &1
            );
        }
    }

    #[test]
    fn what_is_not_there_to_be_scaled_is_said() {
        let spec = spec(
            "[components.a]\nfile = \"a.wasm\"\n[components.b]\nfile = \"b.wasm\"\nspawned = true\n\
             [components.d]\nfile = \"d.wasm\"\nautoscale = { max = 4 }\n",
        );
        let text = spec.with_replicas("c", 2).unwrap_err().to_string();
        assert_eq!(text, "there is no component `c`; there are: a, d");
        let text = spec.with_replicas("b", 2).unwrap_err().to_string();
        assert!(text.contains("started by other components"), "{text}");
        let why = spec.with_replicas("d", 2).unwrap_err();
        let (name, min, max) = ("d".to_owned(), 1, 4);
        assert_eq!(why, EditError::Autoscaled { name, min, max });
        assert!(
            why.to_string().contains("change `min` and `max` in"),
            "{why}"
        );
    }
}
