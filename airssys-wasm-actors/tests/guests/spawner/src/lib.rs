//! spawner.wasm: starts actors of its own when it is told to, itself among them.

#[rustfmt::skip]
mod bindings;

use std::cell::RefCell;

use bindings::airssys::actor::spawn::{self, Error};
use bindings::exports::airssys::actor::init;
use bindings::exports::test::probe::spawner;

thread_local! {
    static CONFIG: RefCell<Vec<String>> = RefCell::default();
    static IN_INIT: RefCell<String> = RefCell::default();
}

struct Spawner;

fn told(error: Error) -> String {
    match error {
        Error::Denied(text) => format!("denied: {text}"),
        Error::BadName(text) => format!("bad-name: {text}"),
        Error::NoSuchChild => "no-such-child".to_owned(),
        Error::Quota(text) => format!("quota: {text}"),
        Error::NotStarted(text) => format!("not-started: {text}"),
        Error::NotUp => "not-up".to_owned(),
    }
}

impl init::Guest for Spawner {
    fn init(config: Vec<(String, String)>) -> Result<(), String> {
        for (key, value) in &config {
            match key.as_str() {
                "refuse" => return Err(value.clone()),
                "spawn-in-init" => {
                    let spawned = spawn::spawn(value, "early", &[]);
                    IN_INIT.set(spawned.unwrap_or_else(told));
                }
                _ => {}
            }
        }
        CONFIG.set(
            config
                .into_iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
        );
        Ok(())
    }
}

impl spawner::Guest for Spawner {
    fn spawn(
        component: String,
        name: String,
        key: String,
        value: String,
    ) -> Result<String, String> {
        spawn::spawn(&component, &name, &[(key, value)]).map_err(told)
    }

    fn stop(name: String) -> Result<(), String> {
        spawn::stop(&name).map_err(told)
    }

    fn children() -> Result<Vec<String>, String> {
        spawn::children().map_err(told)
    }

    fn config() -> Vec<String> {
        CONFIG.with_borrow(Clone::clone)
    }

    fn in_init() -> String {
        IN_INIT.with_borrow(Clone::clone)
    }

    fn trap() {
        std::process::abort()
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Spawner with_types_in bindings);
