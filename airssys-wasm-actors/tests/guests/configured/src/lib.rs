//! configured.wasm: reads its configuration by both interfaces, and takes or refuses changes of it as it is told.

#[rustfmt::skip]
mod bindings;

use std::cell::RefCell;

use bindings::airssys::config::store::{self, Error};
use bindings::exports::airssys::actor::{init, state};
use bindings::exports::airssys::config::config_changed;
use bindings::exports::test::probe::configured;
use bindings::test::probe::decider;
use bindings::wasi::config::store as wasi;

thread_local! {
    static HISTORY: RefCell<Vec<String>> = RefCell::default();
}

struct Configured;

fn add(what: String) {
    HISTORY.with_borrow_mut(|history| history.push(what));
}

fn read(key: &str) -> Result<Option<String>, String> {
    store::get(key).map_err(|Error::Denied(text)| text)
}

fn read_wasi(key: &str) -> Result<Option<String>, String> {
    wasi::get(key).map_err(|error| match error {
        wasi::Error::Upstream(text) => text,
        wasi::Error::Io(text) => format!("io: {text}"),
    })
}

fn shown(value: Result<Option<String>, String>) -> String {
    match value {
        Ok(value) => value.unwrap_or_else(|| "-".to_owned()),
        Err(error) => format!("error: {error}"),
    }
}

fn revision() -> u64 {
    store::revision().unwrap_or_default()
}

impl init::Guest for Configured {
    fn init(config: Vec<(String, String)>) -> Result<(), String> {
        let pairs: Vec<_> = config
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        add(format!("init {}", pairs.join(",")));
        match config.iter().find(|(key, _)| key == "refuse-init") {
            Some((_, text)) => Err(text.clone()),
            None => Ok(()),
        }
    }
}

impl state::Guest for Configured {
    fn snapshot() -> Result<Vec<u8>, String> {
        if let Ok(Some(text)) = read("refuse-snapshot") {
            return Err(text);
        }
        Ok(HISTORY
            .with_borrow(|history| history.join("\n"))
            .into_bytes())
    }

    fn restore(_from_version: String, bytes: Vec<u8>) -> Result<(), String> {
        let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
        HISTORY.set(text.lines().map(str::to_owned).collect());
        add("restored".to_owned());
        Ok(())
    }
}

impl config_changed::Guest for Configured {
    fn on_config_changed(changed: Vec<String>) -> Result<(), String> {
        let keys = changed.join(",");
        let verdict = match read("ask") {
            Ok(Some(_)) => decider::ask(&format!("changed {keys}")),
            _ => match read("verdict") {
                Ok(Some(verdict)) => verdict,
                _ => "ok".to_owned(),
            },
        };
        match verdict.as_str() {
            "ok" => {
                add(format!("changed {keys}"));
                Ok(())
            }
            "trap" => std::process::abort(),
            refusal => Err(refusal.to_owned()),
        }
    }
}

impl configured::Guest for Configured {
    fn read(key: String) -> Result<Option<String>, String> {
        read(&key)
    }

    fn read_wasi(key: String) -> Result<Option<String>, String> {
        read_wasi(&key)
    }

    fn twice(key: String) -> Vec<String> {
        let look = || {
            let (one, other) = (shown(read(&key)), shown(read_wasi(&key)));
            format!("{one} {other} {}", revision())
        };
        let first = look();
        decider::ask("twice");
        vec![first, look()]
    }

    fn all() -> Vec<String> {
        match store::get_all() {
            Ok(all) => {
                let pairs = all.values.into_iter();
                let pairs = pairs.map(|(key, value)| format!("{key}={value}"));
                std::iter::once(all.revision.to_string())
                    .chain(pairs)
                    .collect()
            }
            Err(Error::Denied(text)) => vec![text],
        }
    }

    fn history() -> Vec<String> {
        HISTORY.with_borrow(Clone::clone)
    }

    fn trap() {
        std::process::abort()
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Configured with_types_in bindings);
