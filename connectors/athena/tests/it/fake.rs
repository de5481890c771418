//! A server that answers as Athena does, in the shapes of its API reference: idempotent tokens, a
//! header row, pages, errors. It runs nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

/// What it answers, and what it was asked.
#[derive(Debug)]
pub(crate) struct Fake {
    /// Column types, as `ColumnInfo`.
    pub(crate) columns: Vec<Value>,
    pub(crate) rows: Vec<Vec<Option<String>>>,
    pub(crate) statement_type: &'static str,
    /// How many rows a page has at most, the header among them.
    pub(crate) page: usize,
    /// How often an execution is said to be running.
    pub(crate) patience: u32,
    /// The `Status` of an execution that fails.
    pub(crate) failure: Option<Value>,
    /// How StartQueryExecution is refused.
    pub(crate) refusal: Option<&'static str>,
    /// Whether tokens of pages are still known.
    pub(crate) tokens_live: bool,
    pub(crate) asked: Vec<(String, Value)>,
    executions: HashMap<String, Execution>,
    by_token: HashMap<String, String>,
}

#[derive(Debug)]
struct Execution {
    probe: bool,
    polls: u32,
    stopped: bool,
}

pub(crate) struct Server {
    pub(crate) url: String,
    fake: Arc<Mutex<Fake>>,
}

impl Server {
    /// A server on a port of its own, which ends with the test's runtime.
    pub(crate) async fn start(columns: &[(&str, &str)], rows: &[&[Option<&str>]]) -> Self {
        let columns = columns.iter().map(|(name, r#type)| {
            json!({ "Name": name, "Label": name, "Type": r#type, "Precision": 10, "Scale": 2,
                    "CaseSensitive": false, "Nullable": "UNKNOWN" })
        });
        let cells =
            |row: &&[Option<&str>]| row.iter().map(|cell| cell.map(str::to_owned)).collect();
        let fake = Arc::new(Mutex::new(Fake {
            columns: columns.collect(),
            rows: rows.iter().map(cells).collect(),
            statement_type: "DML",
            page: 1_000,
            patience: 1,
            failure: None,
            refusal: None,
            tokens_live: true,
            asked: Vec::new(),
            executions: HashMap::new(),
            by_token: HashMap::new(),
        }));
        let app = Router::new()
            .route("/", post(answer))
            .with_state(Arc::clone(&fake));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, fake }
    }

    pub(crate) fn now(&self) -> MutexGuard<'_, Fake> {
        self.fake.lock().unwrap()
    }

    /// The bodies of the requests of one operation.
    pub(crate) fn asked(&self, operation: &str) -> Vec<Value> {
        let fake = self.now();
        let of = fake.asked.iter().filter(|(name, _)| name == operation);
        of.map(|(_, body)| body.clone()).collect()
    }

    /// The bodies of the starts that were no questions for columns.
    pub(crate) fn starts(&self) -> Vec<Value> {
        let mut starts = self.asked("StartQueryExecution");
        starts.retain(|start| !is_probe(start));
        starts
    }
}

fn is_probe(start: &Value) -> bool {
    start["QueryString"].as_str().unwrap().ends_with("LIMIT 0")
}

async fn answer(
    State(fake): State<Arc<Mutex<Fake>>>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let target = headers["x-amz-target"].to_str().unwrap();
    let operation = target.strip_prefix("AmazonAthena.").unwrap().to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut fake = fake.lock().unwrap();
    fake.asked.push((operation.clone(), body.clone()));
    let answer = match operation.as_str() {
        "StartQueryExecution" => fake.start(&body),
        "GetQueryExecution" => fake.status(&body),
        "GetQueryResults" => fake.results(&body),
        "StopQueryExecution" => fake.stop(&body),
        other => panic!("{other} is not known"),
    };
    let (status, answer) = match answer {
        Ok(answer) => (StatusCode::OK, answer),
        Err(message) => {
            let error = json!({ "__type": "InvalidRequestException", "Message": message });
            (StatusCode::BAD_REQUEST, error)
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "application/x-amz-json-1.1"),
        // So that no idle connection looks like something left behind.
        (header::CONNECTION, "close"),
    ];
    (status, headers, answer.to_string()).into_response()
}

impl Fake {
    fn start(&mut self, body: &Value) -> Result<Value, String> {
        if let Some(refusal) = self.refusal {
            return Err(refusal.to_owned());
        }
        let token = body["ClientRequestToken"].as_str().unwrap().to_owned();
        assert!((32..=128).contains(&token.len()), "{token}");
        let next = format!("execution-{}", self.executions.len());
        let id = self.by_token.entry(token).or_insert(next).clone();
        let new = Execution {
            probe: is_probe(body),
            polls: 0,
            stopped: false,
        };
        self.executions.entry(id.clone()).or_insert(new);
        Ok(json!({ "QueryExecutionId": id }))
    }

    fn execution(&mut self, body: &Value) -> Result<&mut Execution, String> {
        let id = body["QueryExecutionId"].as_str().unwrap();
        let found = self.executions.get_mut(id);
        found.ok_or_else(|| format!("QueryExecution {id} was not found"))
    }

    fn status(&mut self, body: &Value) -> Result<Value, String> {
        let (patience, failure) = (self.patience, self.failure.clone());
        let statement_type = self.statement_type;
        let execution = self.execution(body)?;
        execution.polls += 1;
        let status = if execution.stopped {
            json!({ "State": "CANCELLED" })
        } else if execution.probe {
            json!({ "State": "SUCCEEDED" })
        } else if execution.polls <= patience {
            json!({ "State": "RUNNING" })
        } else {
            failure.unwrap_or(json!({ "State": "SUCCEEDED" }))
        };
        Ok(json!({ "QueryExecution": {
            "QueryExecutionId": body["QueryExecutionId"],
            "StatementType": statement_type,
            "Status": status,
            "Statistics": {
                "DataScannedInBytes": 12_345_678, "EngineExecutionTimeInMillis": 900,
                "QueryQueueTimeInMillis": 50, "QueryPlanningTimeInMillis": 100,
                "TotalExecutionTimeInMillis": 1000,
                "ResultReuseInformation": { "ReusedPreviousResult": true },
            },
        } }))
    }

    fn results(&mut self, body: &Value) -> Result<Value, String> {
        let most = usize::try_from(body["MaxResults"].as_u64().unwrap()).unwrap();
        assert!((1..=1_000).contains(&most), "{most}");
        let from = match body["NextToken"].as_str() {
            Some(_) if !self.tokens_live => return Err("The token is not valid".to_owned()),
            Some(token) => token.strip_prefix("row-").unwrap().parse().unwrap(),
            None => 0,
        };
        let probe = self.execution(body)?.probe;
        let names = self.columns.iter().map(|column| &column["Name"]);
        let header = json!({ "Data": names.map(|name| json!({ "VarCharValue": name })).collect::<Vec<_>>() });
        let rows = self.rows.iter().filter(|_| !probe).map(|row| {
            let cells = row.iter().map(|cell| match cell {
                Some(text) => json!({ "VarCharValue": text }),
                None => json!({}),
            });
            json!({ "Data": cells.collect::<Vec<_>>() })
        });
        let header = (self.statement_type == "DML").then_some(header);
        let all: Vec<_> = header.into_iter().chain(rows).collect();
        let to = (from + most.min(self.page)).min(all.len());
        let mut answer = json!({ "ResultSet": {
            "Rows": all[from..to],
            "ResultSetMetadata": { "ColumnInfo": self.columns },
        } });
        if to < all.len() {
            answer["NextToken"] = json!(format!("row-{to}"));
        }
        Ok(answer)
    }

    fn stop(&mut self, body: &Value) -> Result<Value, String> {
        self.execution(body)?.stopped = true;
        Ok(json!({}))
    }
}
