//! The hardware address of a container: until 1.44 it was the container's, since then it is its endpoint's. 1.52 does not know the
//! container's; but docker-py sends no other, by the newest version there is.

use wharf_api_types::{ContainerCreateRequest, EndpointSettings};

use crate::error::ApiError;

/// The network that a container-wide address is for; none if the mode has no endpoint of its own.
fn main_network(request: &ContainerCreateRequest) -> Option<&str> {
    let mode = request
        .host_config
        .as_ref()
        .map(|host| host.network_mode.as_str());
    match mode.unwrap_or_default() {
        "" | "default" => Some("bridge"),
        "host" | "none" => None,
        shared if shared.starts_with("container:") => None,
        name => Some(name),
    }
}

fn endpoints(
    request: &mut ContainerCreateRequest,
) -> impl Iterator<Item = (&String, &mut EndpointSettings)> {
    let networks = request.networking_config.as_mut();
    let endpoints = networks.and_then(|networks| networks.endpoints_config.as_mut());
    let all = endpoints.into_iter().flatten();
    all.map(|(name, settings)| (name, settings.get_or_insert_default()))
}

/// What an endpoint says of it was not heard then.
///
/// # Errors
/// If there is an address and no endpoint to have it.
pub(super) fn of_before_44(request: &mut ContainerCreateRequest) -> Result<(), ApiError> {
    let address = request.config.mac_address.clone();
    if !address.is_empty() && main_network(request).is_none() {
        let text = "conflicting options: mac-address and the network mode";
        return Err(ApiError::bad(text));
    }
    for (_, settings) in endpoints(request) {
        settings.mac_address.clone_from(&address);
    }
    Ok(())
}

/// The container's address is still taken, with a warning.
///
/// # Errors
/// If the endpoint's own is another one, or it is not said which endpoint is meant.
pub(super) fn of_container(request: &mut ContainerCreateRequest) -> Result<Vec<String>, ApiError> {
    let address = request.config.mac_address.clone();
    if address.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(name) = main_network(request).map(str::to_owned) {
        let mut all = endpoints(request).peekable();
        let has_any = all.peek().is_some();
        let own = all.find(|(of, _)| **of == name);
        if has_any && own.is_none() {
            let text = "if a container-wide MAC address is supplied, HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks";
            return Err(ApiError::bad(text));
        }
        let own = own.map(|(_, settings)| &settings.mac_address);
        if own.is_some_and(|own| !own.is_empty() && *own != address) {
            let text = "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty";
            return Err(ApiError::bad(text));
        }
    } else {
        // Nothing has it.
        request.config.mac_address.clear();
    }
    let text = "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.";
    Ok(vec![text.to_owned()])
}
