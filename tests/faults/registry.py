"""Which test injects which fault: every number of the fault list names at least one.

The numbers and their meaning are those of the project's list of 72 faults; a test is named by its
file below ``tests/`` and its function.
"""

from __future__ import annotations

_CRASH, _DISK = "faults/test_faults_crash.py", "faults/test_faults_disk.py"
_BESIDE, _DATA = "faults/test_faults_concurrency.py", "faults/test_faults_data.py"
_KEEP, _TRUST = "faults/test_faults_keeping.py", "faults/test_faults_trust.py"
_POWER = f"{_CRASH}::test_power_loss_at_every_step"
_KILL = f"{_CRASH}::test_kill_9_at_every_step"
_EACH = f"{_DISK}::test_an_error_at_every_step"
_AGAIN = f"{_DATA}::test_a_dump_sent_again_in_every_way"
_ORDER = f"{_DATA}::test_days_in_any_order_come_to_the_same"
_SHAPE = f"{_DATA}::test_columns_that_move_come_or_change_case"
_CHANGES = f"{_BESIDE}::test_a_file_that_grows_or_is_replaced_while_it_is_read"
_HOSTILE = "test_intake_records.py::test_hostile_bytes"
_COUNTED = "test_intake_accounting.py::test_a_damaged_dump_is_counted_as_the_rules_say"

FAULTS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: ("kill -9 at every step of intake", (
        _KILL, _POWER, f"{_CRASH}::test_init_may_die_at_every_step",
        f"{_BESIDE}::test_a_second_fault_while_the_first_is_mended",
        "test_lake_crash.py::test_a_batch_is_wholly_there_or_not_at_all")),
    2: ("kill -9 at every step of scoring", (_KILL, _POWER)),
    3: ("kill -9 at every step of export", (
        f"{_KEEP}::test_an_export_appears_whole_or_not_at_all",
        "test_exports_safety.py::test_a_file_appears_whole_and_keeps_its_rights")),
    4: ("kill -9 at every step of a key's rotation", (
        f"{_KEEP}::test_power_loss_at_every_step_of_keeping",
        f"{_KEEP}::test_a_kill_in_the_middle_of_a_new_key_is_finished_by_the_next_run")),
    5: ("kill -9 at every step of compaction and purge", (
        f"{_KEEP}::test_power_loss_at_every_step_of_keeping",)),
    6: ("SIGTERM and SIGINT at every step", (f"{_CRASH}::test_a_signal_at_every_step",)),
    7: ("power loss: what no fsync kept is gone", (
        _POWER, "test_lake_crash.py::test_what_was_done_outlives_a_power_loss")),
    8: ("disk full at every write", (
        _EACH, f"{_DISK}::test_a_disk_that_takes_so_many_bytes_and_no_more",
        f"{_DISK}::test_a_limit_on_the_size_of_a_file")),
    9: ("no inode left", (_EACH,)),
    10: ("quota", (_EACH,)),
    11: ("EIO on read", (
        f"{_DISK}::test_a_dump_that_cannot_be_read_midway_stops_no_other",
        f"{_DISK}::test_a_lake_that_cannot_be_read")),
    12: ("EIO on fsync", (
        f"{_CRASH}::test_a_failed_fsync_is_never_taken_for_a_success", _EACH)),
    13: ("short write and read", (f"{_DISK}::test_writes_and_reads_that_do_less_than_asked",)),
    14: ("read-only file system", (_EACH,)),
    15: ("permission lost midway", (_EACH,)),
    16: ("memory runs out", (f"{_DISK}::test_memory_that_runs_out",)),
    17: ("two ingests of the same file", (
        f"{_BESIDE}::test_two_runs_at_the_same_moment",
        f"{_BESIDE}::test_writers_that_race_without_a_referee")),
    18: ("two ingests of different files", (f"{_BESIDE}::test_two_runs_at_the_same_moment",)),
    19: ("ingest beside export and query", (
        f"{_BESIDE}::test_readers_are_never_blocked_and_see_one_state",)),
    20: ("stale lock of a dead or reused pid", (
        f"{_BESIDE}::test_what_the_lock_says_never_decides",)),
    21: ("file still growing", (
        _CHANGES, "test_intake_packings.py::test_a_file_that_changes_is_refused_in_every_packing")),
    22: ("file replaced by rename midway", (
        _CHANGES,
        "test_intake_source.py::test_a_file_replaced_between_hash_and_reading_is_refused")),
    23: ("clock stepped back", (f"{_BESIDE}::test_a_clock_that_jumps",)),
    24: ("clock stepped forward a year", (f"{_BESIDE}::test_a_clock_that_jumps",)),
    25: ("an hour repeated", (
        f"{_DATA}::test_an_hour_that_occurs_twice_is_taken_once",
        "test_clock.py::test_of_two_instants_the_first_is_taken")),
    26: ("an hour missing", (
        f"{_DATA}::test_an_hour_that_never_occurs_is_quarantined",
        "test_clock.py::test_a_skipped_time_has_no_instant")),
    27: ("naive, UTC and +08:00 in one file", (
        f"{_DATA}::test_times_with_and_without_a_zone_in_one_file",
        "test_intake_cells.py::test_times_of_several_kinds_in_one_file")),
    28: ("leap day, year end, epoch, year 9999, Excel dates", (
        f"{_DATA}::test_odd_times", "test_intake_workbook.py::test_dates_from_1904",
        "test_intake_cells.py::test_a_year_in_which_nobody_measures_is_an_impossible_time")),
    29: ("same bytes, other name", (
        _AGAIN, "test_pipeline_ingest.py::test_the_same_bytes_are_known_under_any_name")),
    30: ("same rows, other file", (_AGAIN, "test_pipeline_ingest.py::"
                                   "test_a_record_known_from_another_file_is_a_duplicate")),
    31: ("same row twice in a file", (
        _AGAIN, "test_pipeline_ingest.py::test_a_record_twice_in_one_large_file")),
    32: ("one event of two devices", (
        f"{_DATA}::test_one_event_of_two_instruments_stays_two_records",
        "test_pipeline_replicates.py::test_events_by_their_definition")),
    33: ("days out of order", (_ORDER,)),
    34: ("data 40 days late", (
        _ORDER, f"{_DATA}::test_late_data_close_a_pair_and_a_correction_opens_it")),
    35: ("a correction supersedes", (
        _AGAIN, f"{_DATA}::test_late_data_close_a_pair_and_a_correction_opens_it")),
    36: ("column renamed", (
        _SHAPE, "test_intake_formats.py::test_columns_may_have_chinese_names")),
    37: ("column added", (_SHAPE,)),
    38: ("required column gone", (
        f"{_DATA}::test_a_required_column_that_is_gone_refuses_that_file_alone",)),
    39: ("columns reordered", (_SHAPE,)),
    40: ("unit changed", (
        f"{_DATA}::test_a_unit_that_changed_is_doubted",
        "test_intake_ranges.py::test_a_wrong_unit_is_found_in_any_five_hundred_records")),
    41: ("truncated gzip", (
        "test_intake_source.py::test_a_broken_archive_is_refused_whole",
        f"{_CRASH}::test_the_night_is_worth_the_trouble")),
    42: ("wrong gzip checksum", (
        "test_intake_source.py::test_a_broken_archive_is_refused_whole",)),
    43: ("gzip of several members", (
        "test_intake_source.py::test_gzip_is_unpacked_several_members_too",
        "test_intake_packings.py::test_a_member_border_at_every_byte")),
    44: ("bombs", (
        "test_intake_source.py::test_a_bomb_is_stopped",
        "test_intake_packings.py::test_zip_bombs_are_stopped",
        "test_intake_packings.py::test_a_zstd_bomb_is_stopped")),
    45: ("zip with unsafe names and links", (
        "test_intake_packings.py::test_an_unsafe_name_is_refused_and_the_others_are_read",
        "test_intake_packings.py::test_links_and_devices_are_refused")),
    46: ("wrong extension", ("test_intake_packings.py::test_the_name_says_nothing",)),
    47: ("byte-order marks", (
        "test_intake_records.py::test_both_encodings_and_the_mark",
        "test_intake_utf16.py::test_utf16_is_evident_by_its_mark_or_its_zeros")),
    48: ("line ends", (
        _HOSTILE, "test_intake_source.py::test_no_chunk_ends_inside_a_line_or_a_line_end",
        "test_intake_source.py::test_lone_cr_file_is_cut_too")),
    49: ("no final newline", (
        _HOSTILE, "test_intake_source.py::test_the_last_line_without_an_end_is_torn")),
    50: ("newlines, quotes and separators in fields", (
        _COUNTED, "test_intake_lines.py::test_what_a_writer_quotes_comes_back")),
    51: ("unbalanced quote", (
        _HOSTILE, "test_intake_records.py::"
        "test_a_stray_quote_costs_one_record_however_long_the_file_is")),
    52: ("NUL and control characters", (_HOSTILE, _COUNTED)),
    53: ("encodings mixed by line", (
        "test_intake_records.py::test_most_lines_decide_the_encoding",
        "test_intake_records.py::test_a_damaged_gb18030_file_keeps_its_other_records")),
    54: ("invalid byte", (
        _HOSTILE, "test_intake_damaged.py::"
        "test_each_line_that_is_no_text_is_found_wherever_it_stands")),
    55: ("full width, look-alikes, bidi marks", (
        "test_pipeline_plates.py::test_spellings_of_one_plate_are_one_vehicle_and_colours_are_two",
        "test_privacy.py::test_normalise",
        "test_pipeline_masking.py::test_other_spellings_are_masked")),
    56: ("large fields, long lines, many columns", (
        "test_intake_records.py::test_a_field_above_a_mebibyte_costs_its_record",
        "test_intake_source.py::test_a_bomb_without_line_ends_is_stopped",
        "test_intake_records.py::test_many_columns_are_no_trouble")),
    57: ("empty, header only, header midway, footer", (
        "test_pipeline_ingest.py::test_a_header_alone_is_done_with_no_record",
        "test_intake_accounting.py::test_a_repeated_header_is_told_from_a_bad_record",
        "test_intake_source.py::test_an_archive_of_nothing_is_an_empty_file")),
    58: ("short and long rows", (
        "test_intake_records.py::test_a_wrong_number_of_fields_says_which", _HOSTILE)),
    59: ("NaN, infinities, -0, denormal", (
        "test_intake_cells.py::test_a_number_must_be_finite",
        "test_intake_cells.py::test_minus_zero_stays_minus_zero",
        "test_intake_cells.py::test_every_float_comes_back_bit_for_bit")),
    60: ("negatives and sensor codes", (
        "test_intake_passes.py::test_a_sentinel_becomes_null_and_says_so",
        "test_scoring.py::test_negative_ratios_stay_negative")),
    61: ("CO2 zero or tiny", (
        "test_scoring.py::test_no_ratio_where_co2_is_zero_or_negative",)),
    62: ("values on a cut point", (
        "test_law_rulebook.py::test_a_value_on_the_limit_passes_and_the_next_double_exceeds",
        "test_quality.py::test_each_bound_of_hj845")),
    63: ("overflow, long ids, leading zeros", (
        "test_intake_passes.py::test_identities_keep_their_leading_zeros",
        "test_intake_cells.py::test_large_numbers_that_only_add_up_to_infinity_are_fine")),
    64: ("odd plates", (
        "test_privacy.py::test_recognised", "test_privacy.py::test_unreadable",
        "test_privacy.py::test_military_plates_are_marked")),
    65: ("coordinates", (
        "test_geography.py::test_a_site_list_that_cannot_be_meant_is_refused_with_its_line",
        "test_geography.py::"
        "test_check_names_far_sites_unknown_segments_and_the_system_that_would_fit")),
    66: ("impossible speed, acceleration, power", (
        "test_intake_passes.py::test_what_is_outside_its_range_is_accepted",
        "test_quality.py::test_each_bound_of_hj845")),
    67: ("formula injection", (
        "test_exports_safety.py::test_what_a_spreadsheet_would_run_gets_an_apostrophe",
        "test_exports_lists.py::test_a_text_in_a_workbook_stays_that_text")),
    68: ("HTML and terminal injection", (
        "test_cli_output.py::test_data_cannot_command_a_terminal",
        "test_exports_safety.py::test_printable_is_one_line_that_only_shows")),
    69: ("SQL attacks", (
        "test_cli_bad_input.py::test_sql_that_does_more_than_read_is_refused",
        "test_cli_bad_input.py::test_a_condition_cannot_smuggle_a_statement")),
    70: ("tampering is found", (
        f"{_TRUST}::test_a_changed_file_is_found",
        f"{_TRUST}::test_a_log_entry_that_was_changed_is_no_state",
        f"{_TRUST}::test_the_last_entry_that_is_lost_takes_nothing_with_it",
        f"{_TRUST}::test_a_log_entry_that_was_rewritten_is_found",
        f"{_TRUST}::test_a_checkpoint_that_was_changed_is_not_believed",
        f"{_TRUST}::test_a_changed_audit_log_is_found")),
    71: ("wrong, missing or exposed key", (f"{_TRUST}::test_a_wrong_key_changes_nothing",)),
    72: ("hostile settings", (
        f"{_TRUST}::test_settings_that_mean_nothing_are_told_and_nothing_happens",
        f"{_TRUST}::test_a_setting_out_of_its_range")),
}
