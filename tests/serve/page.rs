//! The page is in the program.

use serde_json::json;

use super::{
    server::Server,
    support::{TINY, TINY_OPT, load},
};

/// The files that the page loads.
const FILES: [(&str, &str); 3] = [
    ("/", "text/html; charset=utf-8"),
    ("/page/app.js", "text/javascript; charset=utf-8"),
    ("/page/page.css", "text/css; charset=utf-8"),
];

#[test]
fn the_page_is_served_and_may_load_nothing_else() {
    let server = Server::start(&["--model", TINY]);
    for (path, media_type) in FILES {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some(media_type));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"));
        // A browser that has it is told so.
        let tag = answer.header("etag").unwrap();
        for (known, status) in [(tag, 304), ("\"another\"", 200)] {
            let answer = server.request("GET", path, &[("if-none-match", known)], b"");
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.body.is_empty(), status == 304);
            assert_eq!(answer.header("etag"), Some(tag));
        }
    }
    for path in ["/page", "/page/", "/page/nothing.js", "/page/page.html"] {
        assert_eq!(server.get(path).error(404)["code"], "unknown_url");
    }
}

#[test]
fn all_modules_of_the_page_are_served() {
    let server = Server::start(&["--model", TINY]);
    for entry in std::fs::read_dir("src/serve/page").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "page.html" {
            assert_eq!(server.get(&format!("/page/{name}")).status, 200, "{name}");
        }
    }
}

#[test]
fn a_server_without_a_page_has_none_of_its_files() {
    let server = Server::start(&["--model", TINY, "--no-ui"]);
    for (path, _) in FILES {
        assert_eq!(server.get(path).error(404)["code"], "unknown_url");
    }
}

#[test]
fn models_tell_what_the_page_shows() {
    let server = Server::start(&[
        "--model",
        TINY,
        "--model",
        TINY_OPT,
        "--variant",
        "portable",
    ]);
    let models = server.get("/v1/models").json(200);
    for (index, bundle) in [TINY, TINY_OPT].into_iter().enumerate() {
        let (found, model) = (&models["data"][index], load(bundle, "portable"));
        let kv = model.kv_bytes(None).unwrap();
        let token = kv.kv_bytes_per_token_of_text.unwrap();
        let position = kv.kv_bytes_per_sentence.map_or(token, |bytes| bytes as f64);
        assert_eq!(found["kv_bytes_per_position"].as_f64(), Some(position));
        let sampling = model.sampling();
        let expected = json!({
            "max_sentences": 16,
            "temperature": sampling.temperature(),
            "guidance_scale": sampling.guidance_scale(),
            "top_p": sampling.top_p(),
            "top_k": sampling.top_k(),
            "min_p": sampling.min_p(),
            "repetition_penalty": sampling.repetition_penalty(),
            "dry_multiplier": sampling.dry_multiplier(),
            "dry_base": sampling.dry_base(),
            "dry_allowed_length": sampling.dry_allowed_length(),
            "no_repeat_ngram": sampling.no_repeat_ngram(),
            "avoid_repeats": model.generation_defaults().avoid_repeats,
        });
        assert_eq!(found["generation"], expected);
    }
}
