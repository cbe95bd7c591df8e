//! Every scenario against Wharf (or the engine that `WHARF_TEST_ENGINE` names), through both clients.

use wharf_conformance::{Client, Outcome, SCENARIOS, scenario_tests};
use wharf_testkit::EngineKind;

fn run(name: &str) {
    let scenario = SCENARIOS
        .iter()
        .find(|one| one.name == name)
        .expect("a scenario of this name");
    for client in [Client::Docker, Client::Wharf] {
        match scenario.run(EngineKind::from_env(), client) {
            Ok(Outcome::Passed) => {}
            // libtest has no word for it: it is in the output, and `main` counts it.
            Ok(Outcome::Skipped(reason)) => println!("{client:?}: skipped: {reason}"),
            Err(error) => panic!("{client:?}: {error:#}"),
        }
    }
}

scenario_tests!(crate::run);
