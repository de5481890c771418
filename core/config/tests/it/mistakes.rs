//! Every error has a snapshot of what the user sees.

use crate::{Files, GOOD};

/// The good pipeline with one text put for another.
fn spoilt(from: &str, to: &str) -> Files {
    assert!(GOOD.contains(from), "{from}");
    Files::new(GOOD.replacen(from, to, 1))
}

macro_rules! snapshots {
    ($($name:ident: $files:expr;)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!($files.mistakes());
        }
    )*};
}

snapshots! {
    unknown_key: spoilt("format =", "tabel = \"sales\"\nformat =");
    unknown_key_far_from_all: spoilt("query =", "limit = 5\nquery =");
    unknown_key_at_the_top: Files::new(format!("guarante = \"exactly_once\"\n{GOOD}"));
    unknown_key_in_a_nested_table: spoilt("format =", "csv = { haeder = true }\nformat =");
    unknown_section: spoilt("[sources.shop]", "[source.shop]");
    misspelt_required_key: spoilt("url = \"out\"", "ulr = \"out\"");
    unknown_type: spoilt("\"parquet\"", "\"parket\"");
    type_of_another_kind: spoilt("\"files\"", "\"parquet\"");
    missing_type: spoilt("type = \"sql\"\n", "");
    missing_required_key: spoilt("url = \"out\"\n", "");
    missing_required_keys: spoilt("url = \"data/*.csv\"\nformat = \"csv\"\n", "");
    missing_key_in_an_inline_table: spoilt("url = \"out\"", "url = \"out\"\ncatalog = { type = \"glue\", database = \"retail\" }");
    wrong_type_number_in_quotes: spoilt("format =", "rows = \"100\"\nformat =");
    wrong_type_text_without_need: spoilt("url = \"out\"", "url = 5");
    wrong_type_table_for_text: spoilt("url = \"out\"", "url = { path = \"out\" }");
    wrong_type_array: spoilt("url = \"out\"", "url = \"out\"\npartition_by = \"year\"");
    wrong_type_untagged: spoilt("format =", "streams = 5\nformat =");
    wrong_type_option_table: spoilt("format =", "csv = \"yes\"\nformat =");
    bad_size: spoilt("url = \"out\"", "url = \"out\"\ntarget_file_size = \"5 MBx\"");
    bad_span: Files::new(format!("checkpoint.interval = \"60 parsecs\"\n{GOOD}"));
    negative_size: spoilt("format =", "chunk = -1\nformat =");
    number_out_of_range: spoilt("format =", "rows = 5_000_000_000\nformat =");
    not_a_finite_number: spoilt("format =", "sample = nan\nformat =");
    bad_enum: spoilt("\"csv\"", "\"cvs\"");
    bad_enum_at_the_top: Files::new(format!("guarantee = \"exactly-once\"\n{GOOD}"));
    bad_enum_in_an_array: spoilt("format =", "columns = [{ name = \"a\", type = \"int\" }, { name = \"b\", type = \"integer\" }]\nformat =");
    bad_tag: spoilt("url = \"out\"", "url = \"out\"\ncatalog = { type = \"clue\", database = \"a\", table = \"b\" }");
    missing_tag: spoilt("url = \"out\"", "url = \"out\"\ncatalog = { database = \"a\", table = \"b\" }");
    dangling_input: spoilt("[\"weekly\"]", "[\"weakly\"]");
    dangling_input_far_from_all: spoilt("[\"weekly\"]", "[\"x\"]");
    input_of_a_stream_of_a_transform: spoilt("[\"weekly\"]", "[\"weekly.sales\"]");
    input_that_is_a_sink: Files::new(format!("{GOOD}\n[sinks.screen]\ntype = \"console\"\ninputs = [\"lake\"]\n"));
    input_twice: spoilt("[\"shop\"]", "[\"shop.*\", \"shop.sales\"]");
    input_twice_with_rejected_misspelt: spoilt("[\"shop\"]", "[\"shop\", \"shop.rejectd\"]");
    input_of_a_transform_twice_with_rejected_misspelt: spoilt("[\"weekly\"]", "[\"weekly\", \"weekly.rejectd\"]");
    input_as_text: spoilt("[\"weekly\"]", "\"weekly\"");
    input_that_is_no_name: spoilt("[\"weekly\"]", "[\"weekly.\"]");
    empty_inputs: spoilt("[\"weekly\"]", "[]");
    missing_inputs: spoilt("inputs = [\"weekly\"]\n", "");
    inputs_of_a_source: spoilt("format =", "inputs = [\"weekly\"]\nformat =");
    circle: spoilt("inputs = [\"shop\"]", "inputs = [\"shop\", \"daily\"]")
        .with_more("[transforms.daily]\ntype = \"sql\"\ninputs = [\"weekly\"]\nquery = \"SELECT 2\"\n");
    reads_itself: spoilt("[\"shop\"]", "[\"shop\", \"weekly.rejected\"]");
    one_name_twice: spoilt("[sinks.lake]", "[sinks.weekly]");
    bad_name: spoilt("[sinks.lake]", "[sinks.The-Lake]");
    duplicate_key: spoilt("url = \"out\"", "url = \"out\"\nurl = \"in\"");
    duplicate_table: Files::new(format!("{GOOD}\n[sinks.lake]\ntype = \"console\"\n"));
    unset_variable: spoilt("\"out\"", "\"s3://${BUCKET}/out\"");
    unset_variable_with_a_near_one: spoilt("\"out\"", "\"s3://${BUKET}/out\"").env("BUCKET", "b");
    unset_variable_in_a_long_text: spoilt("\"SELECT 1\"", "\"\"\"\nSELECT *\nFROM \\\n  shop\nWHERE day > '${DAY}'\n\"\"\"");
    unset_variable_where_a_number_goes: spoilt("format =", "rows = \"${ROWS}\"\nformat =");
    variable_of_a_wrong_type: spoilt("format =", "rows = \"${ROWS}\"\nformat =").env("ROWS", "many");
    variable_never_closed: spoilt("\"out\"", "\"s3://${BUCKET/out\"");
    not_toml: spoilt("url = \"out\"", "url = out");
    not_toml_unclosed: spoilt("url = \"out\"", "password = \"hunter2");
    not_utf8: Files::new(b"name = \"caf\xe9\"\n");
    empty_file: Files::new("# nothing yet\n");
    no_sources_and_no_sinks: Files::new("name = \"x\"\n");
    a_component_that_is_no_table: spoilt("[sources.shop]", "[sources]");
    a_component_that_is_an_array: spoilt("[sources.shop]", "[[sources.shop]]");
    secret_in_plain_text: spoilt("url = \"out\"", "url = \"out\"\napi_key = \"hunter2\"");
    secret_of_a_variable: spoilt("url = \"out\"", "url = \"out\"\napi_key = \"${KEY}\"").env("KEY", "hunter2");
    secret_with_a_wrong_key: spoilt("url = \"out\"", "url = \"out\"\napi_key = { evn = \"hunter2\" }");
    secret_under_a_misspelt_key: spoilt("format =", "pasword = \"hunter2\"\nformat =");
    secret_in_the_line_of_another_mistake: spoilt("\"data/*.csv\"\n", "\"mysql://me:hunter2@host/db\"\ncsv = { haeder = 1, token = \"hunter2\", x = 2 }\n");
    refused_by_the_component: spoilt("format = \"csv\"", "format = \"ndjson\"\ncsv = { header = true }");
    set_of_an_unknown_key: Files::new(GOOD).set("sinks.lake.ulr=x");
    set_of_a_wrong_type: Files::new(GOOD).set("sources.shop.rows=many");
    set_of_a_secret: Files::new(GOOD).set("sinks.lake.api_key=hunter2");
    set_without_a_value: Files::new(GOOD).set("sinks.lake.url");
    variable_of_an_unknown_key: Files::new(GOOD).env("TIDEGATE_SET__sinks__lake__ulr", "x");
    overlay_with_a_mistake: Files::new(GOOD)
        .with("pipeline.prod.toml", "\n[sinks.lake]\ncompression = \"zst\"\n")
        .profile("prod");
    one_name_twice_over_two_files: Files::new(GOOD)
        .with("pipeline.prod.toml", "[sinks.weekly]\ntype = \"console\"\ninputs = [\"shop\"]\n")
        .profile("prod");
    overlay_that_is_missing: Files::new(GOOD).with("pipeline.prod.toml", "").profile("prd");
    settings_that_are_not_toml: Files::new(GOOD).with("tidegate.toml", "[http\n");
    settings_with_an_unknown_table: Files::new(GOOD).with("tidegate.toml", "[htpp]\nretries = 3\n");
    settings_with_an_unknown_key: Files::new(GOOD).with("tidegate.toml", "[http]\nretires = 3\n");
    settings_of_a_wrong_type: Files::new(GOOD).with("tidegate.toml", "[http]\nretries = \"many\"\n");
    variable_of_an_unknown_setting: Files::new(GOOD).env("TIDEGATE_HTTP__RETIRES", "3");
    many_at_once: Files::new(MANY);
    type_that_is_a_format: spoilt("\"files\"", "\"csv\"");
    type_that_is_an_output: spoilt("\"parquet\"", "\"stdout\"");
    quotes_within_quotes: spoilt("\"SELECT 1\"", "\"SELECT \"a\" FROM \"orders\"\"");
    set_of_a_component_that_is_none: Files::new(GOOD).set("sinks.lak.url=x");
}

const MANY: &str = r#"
guarantee = "exactly"

[sources.shop]
type = "files"
tabel = "sales"
rows = "many"

[transforms.weekly]
type = "sql"
inputs = ["shpo.*"]

[sinks.lake]
type = "parquett"
inputs = ["weakly"]
url = "${BUCKET}/out"
"#;

impl Files {
    fn with_more(self, text: &str) -> Self {
        let before = std::fs::read_to_string(&self.options.file).unwrap();
        std::fs::write(&self.options.file, format!("{before}\n{text}")).unwrap();
        self
    }
}

#[test]
fn a_missing_file() {
    let mut files = Files::new(GOOD);
    files.options.file = files.path().join("pipelin.toml");
    insta::assert_snapshot!(files.mistakes());
}

#[test]
fn an_unread_component_is_a_warning() {
    let loaded = Files::new(format!("{GOOD}\n[sources.more]\ntype = \"generate\"\n")).loaded();
    let [warning] = loaded.warnings.as_slice() else {
        panic!("{:?}", loaded.warnings);
    };
    assert_eq!(warning.message(), "nothing reads `more`");
    assert!(warning.is_warning());
}

#[test]
fn a_secret_that_stands_in_the_file_is_a_warning_that_names_the_way_out() {
    let more = r#"
[sources.more]
type = "generate"
headers = { X-Api-Key = "swordfish-1", X-Token = "${TOKEN}", Accept = "text/plain", A-Secret = { env = "S" } }
body = { page_size = "5", deep = [{ client_secret = "swordfish-2", token = { env = "T" } }] }

[sources.list]
type = "generate"
headers = { api_key = ["swordfish-3", { file = "key" }] }

[sinks.screen]
type = "console"
inputs = ["more", "list"]
"#;
    let loaded = Files::new(format!("{GOOD}\n{more}"))
        .env("TOKEN", "swordfish-4")
        .loaded();
    let told: Vec<_> = loaded.warnings.iter().map(|one| one.message()).collect();
    let names = ["X-Api-Key", "X-Token", "client_secret", "api_key"];
    assert_eq!(
        told,
        names.map(|name| format!("`{name}` seems to be a secret"))
    );
    let hints: Vec<_> = loaded.warnings.iter().map(|one| one.hint_text()).collect();
    assert!(hints[0].unwrap().contains("X-Api-Key = { env = \"NAME\" }"));
    assert_eq!(hints[1], Some("write `X-Token = { env = \"TOKEN\" }`"));
    for warning in &loaded.warnings {
        let shown = format!("{} {warning:?}", warning.render(false));
        assert!(!shown.contains("swordfish"), "{shown}");
    }
}

#[test]
fn colours_only_when_asked_for() {
    let wrong = spoilt("\"csv\"", "\"cvs\"").load().unwrap_err();
    assert!(!wrong.render(false).contains('\u{1b}'));
    assert!(wrong.render(true).contains('\u{1b}'));
}

#[test]
fn a_diagnostic_tells_its_parts() {
    let wrong = spoilt("format =", "tabel = \"sales\"\nformat =")
        .load()
        .unwrap_err();
    let one = wrong.iter().next().unwrap();
    assert_eq!((one.line(), one.column()), (5, 1));
    assert_eq!(one.source_line(), "tabel = \"sales\"");
    assert_eq!(one.message(), "unknown key `tabel`");
    assert_eq!(
        one.label_text(),
        Some("not a key of a source of type `files`")
    );
    assert_eq!(one.hint_text(), Some("did you mean `table`?"));
    assert!(one.file().ends_with("pipeline.toml"));
}

#[test]
fn long_lines_are_cut_to_the_width_of_a_terminal() {
    let line = format!("columns = [{}5]", "\"a\", ".repeat(60));
    let wrong = spoilt("format =", &format!("{line}\nformat ="))
        .load()
        .unwrap_err();
    let widest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest(&wrong.render(false)) > 120);
    let one = wrong.render_within(false, Some(60));
    let drawn: Vec<_> = one.lines().filter(|line| line.contains('|')).collect();
    assert!(
        !drawn.is_empty() && drawn.iter().all(|line| line.chars().count() <= 60),
        "{one}"
    );
}

#[test]
fn secrets_are_shown_nowhere() {
    for line in [
        "api_key = \"hunter2\"",
        "api_key = [\"hunter2\"]",
        "api_key = { env = \"A\", value = \"hunter2\" }",
        "api_kye = \"hunter2\"",
        "api_key = \"\"\"\nhunter2\nhunter2\"\"\"",
        "api_key = 'hunter2",
        "api_key = { file = 5, hunter = \"hunter2\" }",
        "ca_file = 5 # password = hunter2",
        "compression = { secret = \"hunter2\" }",
    ] {
        let wrong = spoilt("url = \"out\"", &format!("url = \"out\"\n{line}")).load();
        let wrong = wrong.expect_err(line);
        let shown = format!("{wrong}{wrong:?}{wrong:#?}");
        assert!(!shown.contains("hunter2"), "{line}:\n{shown}");
        let lines: Vec<_> = wrong.iter().map(|one| one.source_line()).collect();
        assert!(!lines.concat().contains("hunter2"), "{line}");
    }
    let files = Files::new(GOOD).set("sinks.lake.api_key=hunter2");
    assert!(!format!("{:?}", files.options).contains("hunter2"));
}

#[test]
fn a_file_that_cant_be_read_is_not_said_to_be_called_otherwise() {
    let mut files = Files::new(GOOD);
    files.options.file = files.path().to_owned();
    let told = files.mistakes();
    assert!(told.contains("the file can't be read"), "{told}");
    assert!(told.contains("name the file in it"), "{told}");
    assert!(!told.contains("did you mean"), "{told}");
}
