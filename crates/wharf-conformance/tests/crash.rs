//! A few deaths of daemon and registry; `make crash` has 500.

use wharf_conformance::crash::{Plan, run};

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
