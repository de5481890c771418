use std::sync::Arc;

use tidegate_core::{CatalogConfig, ErrorKind};
use tidegate_glue::GlueConfig;
use tidegate_testkit::suites::{catalog_suite, context};

use crate::strict::strict;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_keeps_the_contract() {
    let strict = strict().await;
    let settings = strict.settings();
    catalog_suite(move |mut cx| {
        Arc::make_mut(&mut cx.settings).insert("aws".to_owned(), settings.clone());
        async move { GlueConfig::default().open(&cx).await }
    })
    .refuses("an id of nothing", ErrorKind::Config, || async {
        let config = GlueConfig {
            catalog_id: Some(String::new()),
            ..GlueConfig::default()
        };
        config.validate()
    })
    .refuses(
        "a server that isn't there",
        ErrorKind::Transient,
        || async {
            let server = serde_json::json!({
                "region": "us-east-1",
                "endpoint_url": "http://127.0.0.1:1",
                "credentials": { "access_key_id": "a", "secret_access_key": { "env": "PATH" } },
            });
            let cx = context().settings("aws", server);
            let catalog = GlueConfig::default().open(&cx.common()).await?;
            catalog.databases().await.map(drop)
        },
    )
    .check()
    .await;
    assert!(
        strict.stale() > 0,
        "no change was ever made to an old version"
    );
    for update in strict.seen("UpdateTable") {
        assert_eq!(update["SkipArchive"], true);
    }
    let expressions = strict.seen("GetPartitions");
    assert!(
        expressions
            .iter()
            .any(|input| input["Expression"].is_string())
    );
}
