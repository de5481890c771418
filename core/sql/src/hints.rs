//! Functions that other engines have, and what does their work here.

/// What to write in the place of a function of MySQL, PostgreSQL, DuckDB, Spark, Athena, Snowflake or
/// SQL Server that isn't here.
pub(crate) fn of_function(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let found = FUNCTIONS
        .iter()
        .find(|(names, _)| names.split(' ').any(|one| one == name));
    found.map(|(_, hint)| *hint)
}

const JSON: &str = "a `json` transform makes columns of a text that holds JSON; their fields are \
                    `column.field`";

const PART: &str = "write `extract(year FROM at)`, or `date_part('year', at)`; units are year, \
                    quarter, month, week, day, dow, doy, hour, minute, second and epoch";

const FORMATTED: &str = "write `to_char(at, '%Y-%m-%d')`";

const PARSED: &str = "write `to_timestamp(text, '%d.%m.%Y %H:%M')`, or `to_date(text, '%d.%m.%Y')`";

/// Names, separated by blanks, and the hint.
const FUNCTIONS: &[(&str, &str)] = &[
    (
        "group_concat listagg string_agg_distinct",
        "write `string_agg(x, ',')`",
    ),
    (
        "collect_list collect_set list array_agg_distinct grouparray",
        "write `array_agg(x)`, or `array_agg(DISTINCT x)`",
    ),
    (
        "strftime date_to_string datename dayname monthname to_varchar",
        FORMATTED,
    ),
    (
        "strptime str_to_date try_strptime parse_datetime to_datetime date_parse parse_timestamp",
        PARSED,
    ),
    (
        "from_iso8601_timestamp from_iso8601_date datetime timestamp",
        "write `CAST(text AS TIMESTAMP)`, or `to_timestamp(text)`",
    ),
    ("date", "write `CAST(x AS DATE)`"),
    (
        "int bigint integer tinyint smallint",
        "write `CAST(x AS BIGINT)`, or `try_cast(x AS BIGINT)` for NULL where it is no number",
    ),
    ("double float real", "write `CAST(x AS DOUBLE)`"),
    (
        "string varchar text to_string",
        "write `CAST(x AS VARCHAR)`",
    ),
    (
        "to_number try_to_number to_decimal try_to_decimal safe_cast",
        "write `CAST(x AS DECIMAL(38, 2))`, or `try_cast(…)` for NULL where it is no number",
    ),
    (
        "datediff date_diff timestampdiff datesub",
        "dates are subtracted: `day1 - day2` is a number of days; of times, `extract(epoch FROM at1) - \
         extract(epoch FROM at2)` is one of seconds",
    ),
    (
        "months_between age",
        "write `date_part('year', a) * 12 + date_part('month', a)` of both, and subtract",
    ),
    (
        "date_add dateadd timestampadd adddate addtime date_sub subdate add_months add_days",
        "write `at + INTERVAL '1 day'`, or `at - INTERVAL '1 month'`",
    ),
    (
        "curdate getdate sysdate sysdatetime getutcdate utc_date",
        "write `current_date`, or `now()`",
    ),
    (
        "utc_timestamp localtimestamp systimestamp transaction_timestamp",
        "write `now()`",
    ),
    (
        "unix_timestamp to_unix_timestamp epoch",
        "write `extract(epoch FROM at)`",
    ),
    (
        "epoch_ms make_timestamp",
        "write `to_timestamp_millis(n)`, or `to_timestamp_micros(n)`",
    ),
    (
        "year quarter month week weekofyear day dayofmonth dayofweek day_of_week weekday isodow dayofyear day_of_year hour minute second",
        PART,
    ),
    (
        "last_day",
        "write `date_trunc('month', day) + INTERVAL '1 month' - INTERVAL '1 day'`",
    ),
    (
        "convert_timezone from_utc_timestamp to_utc_timestamp at_timezone timezone",
        "write `at AT TIME ZONE 'Europe/Oslo'`",
    ),
    (
        "json_value json_extract json_extract_scalar json_extract_string json_extract_path_text \
         get_json_object json_query json_parse parse_json from_json try_parse_json json_unquote \
         json_array_length json_tuple json_object_keys jsonb_array_elements json_each json_table",
        JSON,
    ),
    (
        "to_json json_object json_build_object json_format",
        "a sink writes structs as JSON: `named_struct('name', x)`",
    ),
    (
        "len strlen datalength",
        "write `length(x)` for characters, `octet_length(x)` for bytes",
    ),
    ("locate charindex", "write `strpos(text, part)`"),
    (
        "mid substring_index",
        "write `substr(text, start, length)`, or `split_part(text, ',', 1)`",
    ),
    ("lcase", "write `lower(x)`"),
    ("ucase", "write `upper(x)`"),
    ("space replicate", "write `repeat(text, n)`"),
    ("char", "write `chr(n)`"),
    (
        "format printf sprintf",
        "write `concat(…)`, `lpad(…)`, or `to_char(…)`",
    ),
    (
        "regexp_extract regexp_substr regexp_extract_all regexp_matches",
        "write `regexp_match(text, 'a(b)')[1]`: a list of the groups",
    ),
    (
        "split str_split string_split regexp_split_to_array",
        "write `string_to_array(text, ',')`",
    ),
    ("startswith prefix", "write `starts_with(text, part)`"),
    ("endswith suffix", "write `ends_with(text, part)`"),
    (
        "size array_size",
        "write `array_length(x)`, or `cardinality(x)` for a map",
    ),
    (
        "explode posexplode flatten explode_outer inline",
        "write `unnest(x)`, or `unnest_outer(x)`, which keeps rows without elements",
    ),
    ("sequence", "write `generate_series(first, last)`"),
    (
        "zip arrays_zip",
        "write `unnest(a), unnest(b)`: elements of one number share a row",
    ),
    (
        "struct_extract",
        "write `column.field`, or `get_field(column, 'field')`",
    ),
    ("struct_pack", "write `named_struct('name', x)`"),
    (
        "list_aggregate array_aggregate aggregate reduce",
        "write `(SELECT sum(x) FROM …)` over rows of `unnest(list)`",
    ),
    ("isnull", "write `x IS NULL`, or `coalesce(x, 0)`"),
    ("if iff", "write `CASE WHEN … THEN … ELSE … END`"),
    ("zeroifnull", "write `coalesce(x, 0)`"),
    ("nullifzero", "write `nullif(x, 0)`"),
    ("safe_divide try_divide div0", "write `x / nullif(y, 0)`"),
    (
        "count_if countif sum_if sumif avg_if",
        "write `count(*) FILTER (WHERE …)`, or `sum(x) FILTER (WHERE …)`",
    ),
    ("every", "write `bool_and(x)`"),
    (
        "approx_count_distinct approx_unique hll",
        "write `approx_distinct(x)`",
    ),
    (
        "approx_percentile approx_quantile",
        "write `approx_percentile_cont(x, 0.5)`",
    ),
    (
        "percentile quantile percentile_disc quantile_disc",
        "write `percentile_cont(x, 0.5)`",
    ),
    ("variance variance_samp", "write `var(x)`"),
    ("stdev std", "write `stddev(x)`"),
    ("arbitrary any", "write `any_value(x)`"),
    (
        "first last",
        "write `first_value(x ORDER BY at)`, or `last_value(…)`",
    ),
    (
        "arg_max argmax max_by",
        "write `last_value(x ORDER BY y)`, where `y` is never NULL",
    ),
    (
        "arg_min argmin min_by",
        "write `first_value(x ORDER BY y)`, where `y` is never NULL",
    ),
    (
        "mode histogram",
        "write `SELECT x, count(*) … GROUP BY x ORDER BY 2 DESC LIMIT 1`",
    ),
    ("truncate", "write `trunc(x, 2)`"),
    ("ceiling", "write `ceil(x)`"),
    ("mod", "write `x % y`"),
    ("square", "write `power(x, 2)`"),
    ("bitand bitor", "write `x & y` or `x | y`"),
    ("newid gen_random_uuid generate_uuid", "write `uuid()`"),
    (
        "sha sha1 sha2",
        "write `sha256(x)`, `sha512(x)` or `md5(x)`",
    ),
    ("hex", "write `to_hex(n)`, or `encode(x, 'hex')`"),
    ("unhex from_hex", "write `decode(x, 'hex')`"),
    ("typeof pg_typeof", "write `arrow_typeof(x)`"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_function_is_told_of_twice() {
        let mut all: Vec<&str> = FUNCTIONS
            .iter()
            .flat_map(|(names, _)| names.split(' '))
            .collect();
        assert_eq!(
            of_function("GROUP_CONCAT"),
            Some("write `string_agg(x, ',')`")
        );
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
