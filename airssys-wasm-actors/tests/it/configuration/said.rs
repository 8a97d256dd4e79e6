//! What a guest says of a change, without the values that it was given.

use airssys_wasm_actors::{ConfigSettings, Deployment, DeploymentState, NewDeployment};

use super::layers::{options, written};
use super::*;
use crate::application::Directory;
use crate::upgrades::{Revision, V1, V2};

/// Its environment is as secret as its configuration.
#[tokio::test]
async fn a_hook_that_refuses_does_not_tell_of_the_environment() {
    let engine = engine();
    let (system, mut asked) = deciding(&engine).await;
    let component = ComponentRef::Bytes(CONFIGURED.to_vec().into());
    let component = engine.load(&component).unwrap();
    let asks = CapabilityManifest {
        config: vec!["**".parse().unwrap()],
        env: [("TOKEN".to_owned(), "hunter2hunter2".to_owned())].into(),
        ..CapabilityManifest::default()
    };
    let linked = TemplateSpec {
        grants: grant(&asks, &Policy::permissive()).unwrap(),
        links: vec![LinkedImport::new("test:probe/decider")],
        ..TemplateSpec::new("configured")
    };
    let template = InstanceTemplate::link(&component, linked).unwrap();
    let one = ChildSpec::component(address("one"), template)
        .config([("mode".to_owned(), "slow".to_owned())].into())
        .link(Link::new("test:probe/decider", address("decider")));
    system.spawn(one).await.unwrap();
    let changing = tokio::spawn({
        let system = system.clone();
        async move { change(&system, &[("mode", "fast"), ("ask", "yes")]).await }
    });
    let (_, decide) = asked.recv().await.unwrap();
    decide.send("not with hunter2hunter2".to_owned()).unwrap();
    let (_, why) = refused(changing.await.unwrap().unwrap_err());
    assert!(
        why.contains("not with") && !why.contains("hunter2"),
        "{why}"
    );
    system.shutdown().await;
}

/// A new value may be the beginning of the old one, which is left out whole.
#[tokio::test]
async fn of_a_value_that_begins_as_another_nothing_is_left() {
    let engine = engine();
    let system = system(&engine).await;
    let with = |revision: Revision, value: &str| {
        let template = crate::guests::template(&engine, &revision.stateful(), &[]);
        let values = [("key".to_owned(), value.to_owned())];
        ChildSpec::component(address("one"), template).config(values.into())
    };
    system.spawn(with(V1, "will not")).await.unwrap();
    // It refuses with what the one before was given.
    let next = with(Revision { restore: 1, ..V2 }, "will");
    let upgrade = system.upgrade(next, UpgradeOptions::default()).unwrap();
    let why = upgrade.switch().await.unwrap_err().to_string();
    assert!(why.ends_with("`restore` refused: [left out]"), "{why}");
    system.shutdown().await;
}

/// Whoever writes one of these to a log writes no value.
#[test]
fn no_value_is_in_what_is_written_of_an_application_or_a_deployment() {
    let directory = Directory::new("");
    let tables = "config = { mode = \"hunter2\" }\nconfig-env = { key = \"PASSWORD\" }\n\
        grants = { config = [\"**\"], env = { TOKEN = \"hunter2\" } }\n";
    let spec = written(&directory, tables);
    let mut options = options(Policy::permissive());
    let values = [("more".to_owned(), "hunter2".to_owned())];
    options.settings = ConfigSettings::from([("one".to_owned(), values.into())]);
    let application = spec.resolve(&engine(), &options).unwrap();
    let new = NewDeployment {
        manifest: application.manifest().to_owned(),
        components: [].into(),
        settings: application.settings(),
        by: "somebody".to_owned(),
        why: String::new(),
        at_unix_ms: 1,
    };
    let recorded = Deployment {
        application: application.name().clone(),
        number: 1,
        manifest: new.manifest.clone(),
        components: [].into(),
        settings: new.settings.clone(),
        by: new.by.clone(),
        why: String::new(),
        at_unix_ms: 1,
        state: DeploymentState::Prepared,
        journal: Vec::new(),
    };
    for (written, has) in [
        (format!("{:?}", application.outline()), "\"more\""),
        (format!("{new:?}"), "\"one\""),
        (format!("{recorded:?}"), "\"one\""),
    ] {
        assert!(
            written.contains(has) && !written.contains("hunter2"),
            "{written}"
        );
    }
}
