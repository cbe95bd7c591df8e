//! Every scenario against Wharf (or the engine that `WHARF_TEST_ENGINE` names), through both clients.

use wharf_conformance::{Client, SCENARIOS, scenario_tests};
use wharf_testkit::EngineKind;

fn run(name: &str) {
    let scenario = SCENARIOS
        .iter()
        .find(|one| one.name == name)
        .expect("a scenario of this name");
    for client in [Client::Docker, Client::Wharf] {
        if let Err(error) = scenario.run(EngineKind::from_env(), client) {
            panic!("{client:?}: {error:#}");
        }
    }
}

scenario_tests!(crate::run);
