//! First light: a rack of six boards does its whole job once, in order, with nothing pretended.
//!
//! | file | what it shows |
//! |---|---|
//! | `job` | a user's day: launch, look, exec, logs, stop, start, delete |
//! | `console` | consoles and terminals |
//! | `debian` | a Debian system with its systemd: packages, services, console, journal |
//! | `exec` | commands whose users vanish, or send what nobody reads |
//! | `files` | files in and out: `cp`, `file`, the API, hostile trees |
//! | `inside` | what a container is to the kernel: namespaces, users, limits, files |
//! | `lifecycle` | names, snapshots, first boots, stops, restarts |
//! | `logs` | logs while they are written |
//! | `surface` | the API's contract: bad input, the document, credentials |
//! | `heat` | hot zones, drains, hysteresis |
//! | `hub` | the serial line: unplugged, noisy |
//! | `power` | a board's power is cut and restored |
//! | `usage` | what instances use |
//! | `way_out` | what is beyond the rack |

mod console;
mod debian;
mod exec;
mod files;
mod heat;
mod hub;
mod inside;
mod job;
mod lifecycle;
mod logs;
mod power;
mod surface;
mod usage;
mod way_out;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use roost_tests::outside::Outside;
use roost_tests::rack::Rack;
use roost_tests::suite::{self, World};
use roost_tests::until;
use roost_types::{Eligibility, Node, NodeStatus};

/// Boards of the rack: three shelves of two, so that one hot shelf is less than half of the rack.
const BOARDS: u32 = 6;
/// Thermal states dwell so many times shorter than on a real rack.
const TIME_SCALE: u32 = 20;

struct FirstLight {
    rack: Rack,
    outside: Outside,
}

impl World for FirstLight {
    fn start() -> Result<Self> {
        let outside = Outside::start()?;
        let resolvers = outside.resolv_conf().display().to_string();
        let rack = Rack::start_flagged("first-light", BOARDS, TIME_SCALE, &["--resolv-conf", &resolvers])?;
        Ok(Self { rack, outside })
    }

    fn tidy(&mut self) -> Result<()> {
        let rack = &self.rack;
        rack.empty()?;
        rack.roost(&["dev", "hub", "plug"])?;
        for shelf in ["shelf-1", "shelf-2", "shelf-3"] {
            rack.roost(&["dev", "heat", shelf, "--release"])?;
            rack.roost(&["dev", "fans", shelf, "run"])?;
        }
        for node in rack.api.list::<Node>("/v1/nodes")? {
            let name = node.name.as_str();
            if node.status == NodeStatus::Down {
                rack.roost(&["node", "power", name, "on"])?;
            }
            if node.eligibility != Eligibility::Eligible {
                rack.roost(&["node", "uncordon", name])?;
            }
        }
        until("every board is ready and cool again", || {
            let nodes: Vec<Node> = rack.api.list("/v1/nodes")?;
            let fine = |node: &Node| node.status == NodeStatus::Ready && heat::is_cool(node.thermal.state);
            Ok((nodes.iter().all(fine) && heat::zones(rack)?.iter().all(|z| heat::is_cool(z.thermal))).then_some(()))
        })
    }

    fn stop(self) -> Result<()> {
        self.rack.stop()
    }

    fn tell(&self) -> String {
        self.rack.said()
    }
}

/// Last, so that it speaks of all the others.
fn no_part_called_for_a_person(rack: &Rack) -> Result<()> {
    let errors = rack.errors();
    ensure!(errors.is_empty(), "logged as errors:\n    {}", errors.join("\n    "));
    Ok(())
}

fn main() -> ExitCode {
    suite::run::<FirstLight>(&[
        ("job::launched_web_answers_from_inside", |w| job::launched_web_answers_from_inside(&w.rack)),
        ("job::every_verb_shows_it", |w| job::every_verb_shows_it(&w.rack)),
        ("job::launching_is_a_receipt_that_settles", |w| job::launching_is_a_receipt_that_settles(&w.rack)),
        ("job::a_wish_to_wait_is_heard", |w| job::a_wish_to_wait_is_heard(&w.rack)),
        ("job::exec_takes_standard_input", |w| job::exec_takes_standard_input(&w.rack)),
        ("job::it_stops_starts_and_goes", |w| job::it_stops_starts_and_goes(&w.rack)),
        ("job::exit_codes_and_logs_are_kept", |w| job::exit_codes_and_logs_are_kept(&w.rack)),
        ("job::a_move_takes_its_files", |w| job::a_move_takes_its_files(&w.rack)),
        ("job::a_drained_board_is_emptied", |w| job::a_drained_board_is_emptied(&w.rack)),
        ("console::a_console_is_a_terminal_with_what_was_before", |w| {
            console::a_console_is_a_terminal_with_what_was_before(&w.rack)
        }),
        ("console::exec_on_a_terminal_feels_like_a_shell", |w| console::exec_on_a_terminal_feels_like_a_shell(&w.rack)),
        ("exec::users_that_vanish_leave_nothing_behind", |w| exec::users_that_vanish_leave_nothing_behind(&w.rack)),
        ("files::copies_go_both_ways_as_with_docker", |w| files::copies_go_both_ways_as_with_docker(&w.rack)),
        ("files::a_hostile_tree_stays_where_it_is_put", |w| files::a_hostile_tree_stays_where_it_is_put(&w.rack)),
        ("files::the_api_reads_writes_lists_and_removes", |w| files::the_api_reads_writes_lists_and_removes(&w.rack)),
        ("inside::every_namespace_is_its_own", |w| inside::every_namespace_is_its_own(&w.rack)),
        ("inside::users_are_private_to_it", |w| inside::users_are_private_to_it(&w.rack)),
        ("inside::memory_ends_where_the_size_says", |w| inside::memory_ends_where_the_size_says(&w.rack)),
        ("inside::what_it_has_changes_while_it_runs", |w| inside::what_it_has_changes_while_it_runs(&w.rack)),
        ("inside::processes_end_where_the_size_says", |w| inside::processes_end_where_the_size_says(&w.rack)),
        ("inside::the_image_is_shared_and_never_written", |w| inside::the_image_is_shared_and_never_written(&w.rack)),
        ("lifecycle::a_new_name_counts_everywhere_and_inside_with_the_next_start", |w| {
            lifecycle::a_new_name_counts_everywhere_and_inside_with_the_next_start(&w.rack)
        }),
        ("lifecycle::a_snapshot_is_restored_as_it_was", |w| lifecycle::a_snapshot_is_restored_as_it_was(&w.rack)),
        ("lifecycle::a_launch_from_a_snapshot_has_its_files_on_any_board", |w| {
            lifecycle::a_launch_from_a_snapshot_has_its_files_on_any_board(&w.rack)
        }),
        ("lifecycle::snapshots_go_where_their_instance_goes", |w| {
            lifecycle::snapshots_go_where_their_instance_goes(&w.rack)
        }),
        ("lifecycle::an_agent_killed_while_it_copies_leaves_no_half_snapshot", |w| {
            lifecycle::an_agent_killed_while_it_copies_leaves_no_half_snapshot(&w.rack)
        }),
        ("lifecycle::a_first_boot_is_given_keys_and_a_script_once", |w| {
            lifecycle::a_first_boot_is_given_keys_and_a_script_once(&w.rack)
        }),
        ("lifecycle::a_stop_takes_as_long_as_it_may", |w| lifecycle::a_stop_takes_as_long_as_it_may(&w.rack)),
        ("lifecycle::what_fails_is_started_again_after_growing_pauses", |w| {
            lifecycle::what_fails_is_started_again_after_growing_pauses(&w.rack)
        }),
        ("way_out::an_instance_reaches_what_this_machine_reaches", |w| {
            way_out::an_instance_reaches_what_this_machine_reaches(&w.rack, &w.outside)
        }),
        ("way_out::nobody_outside_begins_to_speak", |w| way_out::nobody_outside_begins_to_speak(&w.rack, &w.outside)),
        ("debian::a_package_is_installed_served_and_back_after_a_restart", |w| {
            debian::a_package_is_installed_served_and_back_after_a_restart(&w.rack, &w.outside)
        }),
        ("logs::a_follower_sees_every_line_at_once", |w| logs::a_follower_sees_every_line_at_once(&w.rack)),
        ("usage::what_an_instance_uses_is_counted", |w| usage::what_an_instance_uses_is_counted(&w.rack)),
        ("usage::a_table_shows_all_that_run", |w| usage::a_table_shows_all_that_run(&w.rack)),
        ("surface::bad_input_is_named_and_changes_nothing", |w| {
            surface::bad_input_is_named_and_changes_nothing(&w.rack)
        }),
        ("surface::a_request_gone_astray_is_a_problem_like_others", |w| {
            surface::a_request_gone_astray_is_a_problem_like_others(&w.rack)
        }),
        ("surface::the_committed_document_is_served", |w| surface::the_committed_document_is_served(&w.rack)),
        ("surface::nobody_gets_in_without_a_token", |w| surface::nobody_gets_in_without_a_token(&w.rack)),
        ("surface::a_dry_run_places_nothing", |w| surface::a_dry_run_places_nothing(&w.rack)),
        ("heat::a_hot_zone_is_avoided_and_said_why", |w| heat::a_hot_zone_is_avoided_and_said_why(&w.rack)),
        ("heat::a_hot_zone_is_emptied_one_at_a_time", |w| heat::a_hot_zone_is_emptied_one_at_a_time(&w.rack)),
        ("heat::a_rack_that_is_hot_all_over_is_left_alone", |w| {
            heat::a_rack_that_is_hot_all_over_is_left_alone(&w.rack)
        }),
        ("heat::fans_follow_the_heat_and_cool_the_boards", |w| heat::fans_follow_the_heat_and_cool_the_boards(&w.rack)),
        ("heat::what_is_critical_stops_by_priority_then_loses_its_power", |w| {
            heat::what_is_critical_stops_by_priority_then_loses_its_power(&w.rack)
        }),
        ("heat::pending_work_waits_for_hysteresis", |w| heat::pending_work_waits_for_hysteresis(&w.rack)),
        ("hub::unplugged_is_unknown_never_cool", |w| hub::unplugged_is_unknown_never_cool(&w.rack)),
        ("hub::noise_is_counted_and_never_a_reading", |w| hub::noise_is_counted_and_never_a_reading(&w.rack)),
        ("power::a_cut_board_loses_all_and_comes_back", |w| power::a_cut_board_loses_all_and_comes_back(&w.rack)),
        ("power::what_is_bound_to_a_board_waits_for_its_power", |w| {
            power::what_is_bound_to_a_board_waits_for_its_power(&w.rack)
        }),
        ("no_part_called_for_a_person", |w| no_part_called_for_a_person(&w.rack)),
    ])
}
