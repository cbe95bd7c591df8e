//! A few deaths of daemon and registry; `make crash` has 500, and of those in builds as many as it is told.

use wharf_conformance::crash::{Plan, builds, run};

#[test]
fn images_outlive_deaths_at_random_points() {
    let plan = Plan {
        rounds: 30,
        ..Plan::default()
    };
    if let Err(error) = run(&plan) {
        panic!("{error:#}");
    }
}

#[test]
fn builds_outlive_deaths_at_random_points() {
    let plan = Plan {
        rounds: 8,
        longest: 2000,
        ..Plan::default()
    };
    if let Err(error) = builds::run(&plan) {
        panic!("{error:#}");
    }
}
