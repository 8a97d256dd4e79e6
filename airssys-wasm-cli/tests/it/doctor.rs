//! `airssys doctor`: what this machine has, and the exit code.

use crate::fixture::run;

#[test]
fn few_actors_fit_and_too_many_do_not() {
    let few = run(&["doctor", "--actors", "10"]);
    assert_eq!(few.code, 0, "{}", few.stdout);
    assert!(few.stdout.contains("this machine has room for them"));

    let many = run(&["doctor", "--actors", "4000000000", "--json"]);
    assert_eq!(many.code, 1);
    let report = many.json();
    assert_eq!(report["fits"], false);
    assert_eq!(report["profile"], "dense");
    let limits = report["limits"].as_array().unwrap();
    let mappings = limits
        .iter()
        .find(|limit| limit["name"] == "mappings")
        .unwrap();
    assert_eq!(mappings["verdict"], "too-low");
    assert!(
        mappings["raise"]
            .as_str()
            .unwrap()
            .contains("sysctl -w vm.max_map_count=")
    );
}

#[test]
fn an_unknown_profile_is_a_mistake_of_the_command_line() {
    assert_eq!(run(&["doctor", "--profile", "sparse"]).code, 2);
    assert_eq!(run(&["doctor", "--actors", "0"]).code, 2);
}
