//! All tests of the lab, by name.

use super::{deploying, ground, installer, logging_in, machines, product, reach, recorded, up, updates};

/// A test by name.
pub type Story = (&'static str, fn());

/// All of them.
pub const ALL: &[Story] = &[
    ("ground::nodes_are_apart_and_joined", ground::nodes_are_apart_and_joined),
    ("ground::containers_come_up_and_reboot", ground::containers_come_up_and_reboot),
    ("ground::an_untouched_container_stays_as_it_is", ground::an_untouched_container_stays_as_it_is),
    ("ground::faults_are_real", ground::faults_are_real),
    ("ground::apis_answer_for_each_other", ground::apis_answer_for_each_other),
    ("ground::a_killed_run_leaves_nothing", ground::a_killed_run_leaves_nothing),
    ("reach::transports_live_through_the_story", reach::transports_live_through_the_story),
    ("reach::probes_tell_what_is_there", reach::probes_tell_what_is_there),
    ("reach::failed_deployments_leave_nothing", reach::failed_deployments_leave_nothing),
    ("reach::a_refused_agent_is_taken_out_again", reach::a_refused_agent_is_taken_out_again),
    ("reach::an_operation_is_served_once", reach::an_operation_is_served_once),
    ("machines::guest_agents_live_through_the_story", machines::guest_agents_live_through_the_story),
    ("logging_in::ssh_lives_through_the_story", logging_in::ssh_lives_through_the_story),
    ("recorded::fixture_is_what_was_recorded", recorded::fixture_is_what_was_recorded),
    ("recorded::commands_answer_as_recorded", recorded::commands_answer_as_recorded),
];

/// Those that need the product's executable, and are ignored where none has been built.
pub const WITH_PRODUCT: &[Story] = &[
    ("product::a_sentence_restarts_nginx", product::a_sentence_restarts_nginx),
    ("product::a_question_leaves_nothing_behind", product::a_question_leaves_nothing_behind),
    ("deploying::an_agent_goes_into_every_kind_of_guest", deploying::an_agent_goes_into_every_kind_of_guest),
    ("deploying::what_is_wrong_is_said_and_leaves_nothing", deploying::what_is_wrong_is_said_and_leaves_nothing),
    ("deploying::a_killed_deployment_ends_all_the_same", deploying::a_killed_deployment_ends_all_the_same),
    ("deploying::nodes_get_their_pve_agents", deploying::nodes_get_their_pve_agents),
    ("machines::a_sentence_deploys_into_a_machine", machines::a_sentence_deploys_into_a_machine),
    ("machines::a_question_to_a_machine_leaves_nothing", machines::a_question_to_a_machine_leaves_nothing),
    (
        "logging_in::a_machine_without_guest_agent_is_logged_in_to",
        logging_in::a_machine_without_guest_agent_is_logged_in_to,
    ),
    ("installer::each_init_system_gets_its_service", installer::each_init_system_gets_its_service),
    ("installer::what_is_wrong_is_said", installer::what_is_wrong_is_said),
    ("up::a_node_goes_up_and_down_without_a_trace", up::a_node_goes_up_and_down_without_a_trace),
    ("up::half_an_installation_is_put_right", up::half_an_installation_is_put_right),
    ("up::what_is_refused_leaves_nothing", up::what_is_refused_leaves_nothing),
    ("up::who_does_not_answer_is_named", up::who_does_not_answer_is_named),
    (
        "updates::agents_in_containers_come_to_the_latest_version",
        updates::agents_in_containers_come_to_the_latest_version,
    ),
    ("updates::a_version_that_does_not_come_up_is_taken_back", updates::a_version_that_does_not_come_up_is_taken_back),
];
