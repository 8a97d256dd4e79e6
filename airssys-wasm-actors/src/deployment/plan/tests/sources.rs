//! Sources that come, go, change and are kept.

use super::made::{application, calling, component, interface, source};
use super::*;
use crate::deployment::outline::SourceOutline;

#[test]
fn sources_come_and_go_and_are_kept_by_choice() {
    let mut old = application(vec![component("a", 1)]);
    old.sources = vec![source("feed", "a", "x.json"), source("old", "a", "x.json")];
    let mut new = old.clone();
    new.sources = vec![source("feed", "a", "y.json"), source("new", "a", "x.json")];
    assert_eq!(
        planned(&old, &new).to_string(),
        "`app`: 3 steps\n  1. replace source `feed`: file; reads another input\n  2. start source `new`\
         \n  3. stop source `old`, when nothing is undone any more\nunchanged: a"
    );
    let keep = PlanOptions {
        keep_sources: true,
        ..PlanOptions::default()
    };
    let plan = plan(&old, &new, &keep).unwrap();
    assert_eq!(
        plan.to_string(),
        "`app`: 2 steps\n  1. start source `new`\n  2. stop source `old`, when nothing is undone any more\
         \nunchanged: a"
    );
}

#[test]
fn a_source_changes_when_what_calls_fits_what_is_called() {
    let functions = |functions: &[&str]| {
        let functions = functions
            .iter()
            .map(|name| format!("{name}: func(item: string);"));
        interface("a", functions.len() as u8, &functions.collect::<String>())
    };
    let calling =
        |function: &str| calling(source("feed", "a", "x"), &format!("app:a/api#{function}"));
    let app = |exports: &[&str], source: Option<SourceOutline>| {
        let mut application = application(vec![functions(exports)]);
        application.sources = source.into_iter().collect();
        application
    };
    for (old, new, expected) in [
        // What it calls stays: it changes when the component has.
        (
            app(&["f"], Some(calling("f"))),
            app(&["f", "g"], Some(calling("g"))),
            &["a", "feed"],
        ),
        // And the way back is the other way round.
        (
            app(&["f", "g"], Some(calling("g"))),
            app(&["f"], Some(calling("f"))),
            &["feed", "a"],
        ),
        (
            app(&["f"], None),
            app(&["f", "g"], Some(calling("g"))),
            &["a", "feed"],
        ),
        (
            app(&["f", "g"], Some(calling("g"))),
            app(&["f"], None),
            &["feed", "a"],
        ),
        (
            app(&["f"], Some(calling("f"))),
            app(&["f", "g"], None),
            &["a", "feed"],
        ),
    ] {
        let plan = planned(&old, &new);
        assert_eq!(names(&plan), expected, "{plan}");
        let last: Vec<_> = plan.parts().map(|part| part.action.is_last()).collect();
        assert!(last.is_sorted(), "{plan}");
    }
    // There is no moment at which both could be changed.
    let (old, new) = (
        app(&["f"], Some(calling("f"))),
        app(&["g"], Some(calling("g"))),
    );
    let refusals = refused(&old, &new);
    assert!(
        refusals[0]
            .to_string()
            .starts_with("the source `feed` as it is would not fit `a` any more: "),
        "{refusals:?}"
    );
    assert!(refusals[0].help().contains("in two deployments"));
    // What is kept has to fit as well, and to have what it feeds.
    let keep = PlanOptions {
        keep_sources: true,
        ..PlanOptions::default()
    };
    let without = {
        let mut other = application(vec![component("b", 1)]);
        other.sources = vec![source("feed", "b", "x")];
        other
    };
    for new in [new, without] {
        let refused = plan(&old, &new, &keep).unwrap_err();
        let help = refused.refusals[0].help();
        assert!(help.contains("without `--keep-sources`"), "{help}");
    }
}

#[test]
fn a_name_that_is_a_components_in_one_and_a_sources_in_the_other_is_refused_with_its_place() {
    let mut old = application(vec![component("a", 1)]);
    old.sources = vec![source("x", "a", "x.json")];
    let new = application(vec![component("a", 1), component("x", 1)]);
    for (old, new, was, is) in [
        (&old, &new, "source", "component"),
        (&new, &old, "component", "source"),
    ] {
        let refused = plan(old, new, &PlanOptions::default()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "`x` is a {was} of what runs, and `[{is}s.x]` would make it a {is}\n  \
                 help: give the {is} another name: the {was} is stopped and the {is} started. \
                 Or take the {was} out in a deployment of its own first"
            )
        );
    }
}
