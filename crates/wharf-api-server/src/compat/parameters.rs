//! Query parameters that a version does not know yet: they are passed over.

use crate::version::ApiVersion;

/// A route, one of its parameters, and the minor version that brought it.
const BROUGHT: &[(&str, &str, u32)] = &[
    ("/containers/{id}/wait", "condition", 30),
    ("/images/create", "platform", 32),
    ("/build", "platform", 32),
    ("/build", "outputs", 40),
    ("/containers/create", "platform", 41),
    ("/containers/{id}/stats", "one-shot", 41),
    ("/containers/{id}/stop", "signal", 42),
    ("/containers/{id}/restart", "signal", 42),
];

/// Whether a client of `version` can mean something by a parameter of `path`.
pub(crate) fn is_known(path: &str, name: &str, version: ApiVersion) -> bool {
    let brought = BROUGHT
        .iter()
        .find(|(route, parameter, _)| *parameter == name && leads(route, path));
    brought.is_none_or(|(.., minor)| !version.before(*minor))
}

fn leads(route: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (route.split('/'), path.split('/'));
    wanted.by_ref().all(|one| {
        given
            .next()
            .is_some_and(|other| one == "{id}" || one == other)
    }) && given.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Asked;

    #[test]
    fn parameters_come_with_their_version() {
        let known = |route, name, version| is_known(route, name, Asked::of(Some(version)).version);
        assert!(!known("/containers/web/stop", "signal", "1.41"));
        assert!(known("/containers/web/stop", "signal", "1.42"));
        assert!(known("/containers/web/kill", "signal", "1.24"));
        assert!(known("/containers/web/stop", "t", "1.24"));
        assert!(known("/containers/stop", "signal", "1.24"));
        assert!(known("/containers/web/stop/x", "signal", "1.24"));
    }
}
