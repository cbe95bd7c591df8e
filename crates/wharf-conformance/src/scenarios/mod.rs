//! All scenarios, by subject.

mod api;
mod apparmor;
mod archives;
mod attach;
mod audit;
mod builds;
mod buildx;
mod built_programs;
mod clients;
mod commit;
mod compose;
mod composed;
mod containers;
mod cp;
mod daemon;
mod devcontainers;
mod endpoints;
mod events;
mod exports;
mod exposure;
mod fidelity;
mod files;
mod firewalls;
mod frontends;
mod health;
mod hostile_builds;
mod image_api;
mod images;
mod lan;
mod lies;
mod life;
mod limits;
mod llb;
mod local_registry;
mod login;
mod logs;
mod loopback;
mod manifests;
mod mounts;
mod network;
mod networks;
mod operations;
mod plugins;
mod push;
mod quotas;
mod registries;
mod remote_logs;
mod resources;
mod restarts;
mod run;
mod runtimes;
mod safety;
mod sctp;
mod sdks;
mod serving;
mod settings;
mod stock;
mod talk;
mod trees;
mod userns;
mod versions;
mod volumes;
mod wire;

use anyhow::Result;
use wharf_testkit::EngineKind;

use crate::case::Skipped;
use crate::{Case, Client};

/// How a scenario ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it holds.
    Passed,
    /// It cannot be asked of this engine, or not on this machine, for that reason.
    Skipped(&'static str),
}

/// A scenario: a name and what must hold.
pub struct Scenario {
    /// Its name: subject and sentence.
    pub name: &'static str,
    body: fn(&mut Case) -> Result<()>,
    /// Whether it starts without an image.
    empty: bool,
}

impl Scenario {
    /// Runs it on a new daemon.
    ///
    /// # Errors
    /// What does not hold.
    pub fn run(&self, kind: EngineKind, client: Client) -> Result<Outcome> {
        let mut case = if self.empty {
            Case::empty(kind, client)?
        } else {
            Case::new(kind, client)?
        };
        let Err(error) = (self.body)(&mut case) else {
            return Ok(Outcome::Passed);
        };
        match error.downcast::<Skipped>() {
            Ok(Skipped(reason)) => Ok(Outcome::Skipped(reason)),
            Err(error) => Err(error.context(match std::env::var_os("WHARF_TEST_LOG") {
                Some(_) => format!("{} (the daemon's log: {})", self.name, case.engine.log()),
                None => self.name.to_owned(),
            })),
        }
    }
}

macro_rules! scenarios {
    ($($module:ident: $($name:ident)+;)+) => {
        /// Every scenario that starts with the image `busybox`.
        pub const SCENARIOS: &[Scenario] = &[$($(Scenario {
            name: concat!(stringify!($module), "::", stringify!($name)),
            body: $module::$name,
            empty: false,
        }),+),+];

        /// A `#[test]` for each scenario, for the test runner.
        #[macro_export]
        macro_rules! scenario_tests {
            ($run:path) => { $($(
                #[test]
                fn $name() { $run(concat!(stringify!($module), "::", stringify!($name))); }
            )+)+ };
        }
    };
}

scenarios! {
    commit: commit_keeps_what_was_changed commit_of_nothing_has_no_layer commit_changes commit_api
        commit_with_all_settings many_layers_are_one_root;
    cp: a_volume_that_is_hidden into_a_container out_of_a_container streams owners diff_and_export;
    files: archive_api changes_api export_api hostile_archives_stay_inside swapped_links_stay_inside
        devices_are_not_read;
    run: prints_output_and_streams exit_codes failing_commands env_and_workdir users stdin_is_passed
        detached_and_logs entrypoint_and_args tmpfs_and_read_only names_and_conflicts cidfile hostname_and_files
        auto_remove init_reaps limits_reach_the_kernel;
    containers: create_start_stop_kill wait_conditions exec_runs_in_the_container rename_and_top ps_filters
        ps_formats inspect_formats remove_rules prune_takes_stopped events_tell_the_story restart_policy
        volumes_keep_data bind_mounts logs_options read_only_binds_and_what_is_below;
    archives: whoever_wrote_it_it_loads import_and_commit_keep_what_there_is layers_that_are_here_need_no_member;
    images: list_tag_and_remove history_and_inspect in_use_is_refused malformed_names pull_from_a_registry
        unknown_images df_adds_up df_says_what_the_disk_says save_archive_loads_again a_save_that_breaks_off;
    image_api: a_registry_is_asked_about_an_image images_are_listed_as_asked manifests_of_an_image one_platform_of_several
        attestations_are_told odd_requests_have_dockerds_answers events_of_names_and_archives a_push_says_who_it_is_of an_import_is_what_it_is_told what_is_pruned_and_removed repositories_are_found;
    network: bridge_gives_an_address published_port_answers port_conflict_is_refused bindings_are_of_exposed_ports none_has_only_loopback
        a_network_goes_right_after_its_containers
        containers_reach_each_other;
    resources: stats_of_a_container stats_stream_and_table
        update_changes_what_runs update_is_refused_as_a_whole update_that_the_kernel_refuses update_of_limits_for_devices pause_stops_everything oom_kills_are_seen;
    limits: nonsense_is_refused devices_are_filtered they_outlive_the_daemon they_work_or_are_discarded_aloud
        groups_below_the_own_one devices_by_name;
    userns: ids_are_mapped what_is_shared_has_one_namespace files_belong_to_whom_the_container_says the_setting_changes;
    operations: every_setting_is_kept_and_holds what_is_not_there what_makes_no_sense signals_sizes_and_filters
        execs_with_terminals;
    apparmor: profiles_confine;
    compose: an_application_comes_up_and_goes single_commands;
    composed: five_services_of_debian;
    health: follows_its_probes what_probes_say probes_that_take_too_long_or_cannot_run of_images
        stands_still_with_the_container is_watched_by_the_next_daemon;
    login: opens_a_registry a_helper_keeps_the_secret names_are_looked_up_in_their_registry
        files_are_imported_as_an_image;
    registries: every_client_with_every_registry a_storage_folder_is_taken_over a_cache_of_another_registry
        repositories_are_searched by_way_of_a_proxy
        what_is_said_of_an_image_goes_along what_a_registry_warns_of_is_shown
        artifacts_are_kept_and_no_images;
    lies: every_lie_ends_well a_lie_while_pushing;
    manifests: a_list_is_made_and_pushed either_client_reads_the_others_lists what_makes_no_list_is_refused;
    trees: everything_is_unpacked_as_dockerd_does;
    local_registry: the_daemons_images_are_served images_are_sent_to_another_machine;
    push: there_and_back layers_are_taken_over all_tags what_cannot_be_pushed what_was_built_is_pushed;
    builds: settings files commands stages mistakes words contexts edges archives_are_unpacked added_archives_stay_inside triggers_come_before_the_arrow
        steps_are_used_again steps_of_another_image what_is_removed_is_forgotten options containers_of_steps standard_input
        a_client_that_goes_stops_its_build a_client_that_goes_stops_only_its_steps squashed_into_one_layer
        what_is_there_is_not_sent_again;
    buildx: images_are_built_and_used_again build_goes_through_the_plugin secrets_and_arguments errors_show_the_place
        results_go_where_they_are_wanted other_contexts a_client_that_goes_stops_its_steps what_builds_keep
        bake_builds_several compose_builds_and_comes_up platforms_in_one_build
        statements_and_annotations what_a_context_may_be progress_as_asked caches_in_a_registry
        through_the_classic_request;
    exports: caches_in_a_folder layouts_in_folders layers_as_asked the_same_bytes_twice stages_without_the_cache
        bills_of_materials sources_have_policies the_daemons_rules_for_builds;
    built_programs: busybox_is_built_from_its_sources redis_and_nginx_are_built_from_their_sources a_node_application_by_every_client
        cpython_is_built_from_its_sources a_rust_program_is_built_with_its_crates;
    frontends: commands_of_frontends;
    hostile_builds: mounts_stay_inside the_hosts_network_takes_the_clients_word lists_of_users_are_read_with_care repositories_stay_inside frontends_of_others_are_not_run secrets_are_nowhere agents_are_forwarded
        tokens_of_addresses_are_nowhere the_disk_is_full_in_builds the_daemon_is_killed_in_builds the_daemon_is_killed_in_classic_builds;
    llb: graphs_of_clients_are_solved what_is_no_graph_is_refused names_lead_nowhere the_past_is_told;
    logs: options_that_no_driver_has_are_refused wrong_values_are_refused_at_the_start details_are_the_attributes
        rotated_and_compressed_logs_are_read_whole no_driver_keeps_nothing times_and_parts_of_lines
        following_ends_with_the_container a_log_that_may_lose_lines the_daemon_names_its_drivers a_log_is_cleared
        many_follow_at_once;
    settings: new_settings_without_a_new_daemon log_driver_of_containers_to_come log_driver_of_the_daemon
        clients_over_tls;
    remote_logs: syslog_formats nobody_there_is_an_error fluentd_events fluentd_that_comes_later gelf_messages
        journal_entries no_copy_if_none_is_wanted lines_go_away_while_the_daemon_is_dead
        a_logger_that_is_killed_is_started_again nobody_who_takes_lines_stops_what_may_lose_them;
    daemon: settings_are_checked defaults_of_containers metrics_are_served signals_of_the_daemon;
    runtimes: runc_makes_the_processes runc_containers_live crun_makes_the_processes;
    events: what_they_say times history_outlives_the_daemon;
    restarts: unhealthy_ones_are_started_again who_is_needed_starts_first a_stop_goes_on_under_the_next_daemon;
    attach: by_a_websocket by_several_clients;
    serving: clients_that_are_gone_are_noticed input_ends_with_its_client_and_not_with_the_daemon
        input_before_the_start_is_kept a_daemon_that_stops_takes_no_requests requests_of_foreign_pages_are_refused;
    networks: create_list_inspect_remove bad_networks_are_refused pools_run_out use_of_addresses connect_and_disconnect_live names_resolve
        port_53_stays_free links_name_others networks_are_apart several_networks_at_the_start
        prune_takes_the_unused events_of_networks a_start_that_fails dual_stack networks_outlive_the_daemon
        links_of_the_default_bridge disconnect_by_force_and_names_of_the_host
        a_restarted_container_is_where_it_was aliases_move what_has_no_address_is_refused names_are_any_text;
    lan: macvlan_is_on_the_lan shared_links_are_checked ipvlan_in_all_its_modes only_published_ports_are_reached
        gateway_modes ipv6_is_published configuration_networks
        what_others_take_away_comes_back the_hosts_own_firewall_is_respected settings_of_the_default_bridge
        five_hundred_ports_are_one_rule connections_outlive_the_daemon servers_of_the_host_are_asked;
    sctp: published_ports_are_translated;
    audit: what_it_says_is_so;
    firewalls: beside_ufw beside_firewalld beside_a_firewalld_that_is_not_asked beside_a_dockerd a_full_table_of_connections;
    endpoints: options_of_an_endpoint whatever_the_api_takes priorities_choose_the_way_out;
    quotas: volumes_keep_to_their_size;
    stock: clients_and_servers_of_debian;
    loopback: the_loopback_is_nobody_elses connections_from_the_host_outlive_the_daemon a_loopback_that_is_not_tracked;
    safety: default_capabilities masked_and_read_only_paths seccomp_denies no_new_privileges privileged_has_all
        workdir_through_proc_is_refused;
    exposure: folders_are_closed_to_others containers_find_no_api variables_of_images_are_texts
        labels_of_images_steer_nothing abuse_of_http2_ends_with_its_connection
        cp_goes_where_a_bind_leads;
    life: daemon_killed_container_lives exit_code_while_daemon_is_dead nothing_is_left_behind;
    volumes: volume_api volume_refusals prune_takes_what_nobody_named rm_takes_only_what_nobody_named
        options_are_mounted_while_used what_cannot_be_mounted mounts_outlive_the_daemon a_kill_leaves_no_anonymous_volume
        volume_plugins volumes_that_a_plugin_keeps events_of_volumes
        volumes_go_out_and_in_as_archives mounts_within_a_volume_keep_it;
    plugins: specifications_and_tls specifications_that_lead_nowhere;
    versions: old_clients_ask_for_less umask_of_processes rows_by_annotation prunes_as_a_stream manifests_of_containers;
    mounts: parts_of_volumes links_of_a_volume_stay_inside files_of_an_image owners_are_mapped tmpfs_options
        fresh_volumes_are_filled mounts_are_checked;
    clients: networks_are_those_that_settings_are_given_for a_shared_network_has_its_names archives_that_cannot_be_loaded what_was_sent_is_loaded
        rows_hold_addresses_alone what_was_never_started_has_no_files odd_requests an_import_is_told_with_its_tag
        events_are_asked_for_by_beginnings booleans_of_filters ports_are_filtered_by_side names_that_a_pipe_gets_whole
        a_scheme_without_a_host a_stream_on_a_connection_that_was_used_before
        a_connection_outlives_a_body_that_comes_late a_stream_to_write_to_alone;
    sdks: docker_py docker_py_by_the_newest_version docker_go aiodocker python_on_whales dockerode testcontainers_of_python testcontainers_of_node
        bollard testcontainers_of_rust;
    devcontainers: dev_containers_are_built_and_entered;
    api: without_swarm_and_plugins ping_and_version info_is_as_described container_answers_are_as_described errors_are_json odd_settings_have_their_answers
        unknown_routes version_limits image_answers_are_as_described;
    wire: streams_with_and_without_an_upgrade a_stream_does_not_wait_for_the_requests_end attach_over_a_websocket paths_and_methods odd_bodies
        volume_names_that_no_folder_can_have clients_of_other_years kinds_of_event_streams
        nulls_are_what_is_not_said a_stream_begins_when_its_head_is_read a_wait_for_one_that_removed_itself
        names_are_filtered_by_expressions
        names_with_slashes_and_words what_is_experimental documents_as_go_reads_them processes_as_ps_shows_them
        requests_as_they_are_typed sessions_are_resized requests_with_many_headers
        settings_that_fail_at_the_start sessions_are_read_as_is_asked starts_that_fail_leave_what_they_had;
    fidelity: headers_of_answers pulls_are_told pulls_of_another_platform pulls_show_bars hardware_addresses
        answers_have_old_fields wrong_types networks_asked_for_twice;
}
