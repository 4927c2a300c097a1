//! The chat templates of bundles.

use anyhow::Context as _;
use minijinja::{Environment, Error, ErrorKind, context, syntax::SyntaxConfig, value::Serde};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;
use serde_json::json;
use sllm_ort::bundle::Bundle;

/// The only template of an environment.
const NAME: &str = "chat_template";
/// Most instructions of a template for one request.
const FUEL: u64 = 1 << 22;

/// Makes a prompt of messages, as Hugging Face's libraries do.
pub struct ChatTemplate(Environment<'static>);

impl ChatTemplate {
    /// The template of a bundle, if it has one.
    ///
    /// # Errors
    /// If it cannot be read, or makes no prompt of a message.
    pub fn of(bundle: &Bundle) -> anyhow::Result<Option<Self>> {
        let Some(text) = bundle.read_chat_template()? else {
            return Ok(None);
        };
        let usable = || {
            let template = Self::new(text)?;
            template.render(&json!([{"role": "user", "content": "Hello."}]))?;
            Ok::<_, Error>(template)
        };
        let name = &bundle.config.name;
        usable()
            .map(Some)
            .with_context(|| format!("the chat template of {name} cannot be used"))
    }

    fn new(text: String) -> Result<Self, Error> {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        environment.set_syntax(syntax.trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.set_fuel(Some(FUEL));
        environment.add_function("raise_exception", |message: String| {
            Err::<String, _>(Error::new(ErrorKind::InvalidOperation, message))
        });
        // The library puts the model's own tokens where they belong.
        for token in ["bos_token", "eos_token", "pad_token", "unk_token"] {
            environment.add_global(token, "");
        }
        environment.add_template_owned(NAME, text)?;
        Ok(Self(environment))
    }

    /// The prompt of a list of messages, each with `role` and `content`.
    ///
    /// # Errors
    /// If the template refuses them.
    pub fn render(&self, messages: &impl Serialize) -> Result<String, Error> {
        let template = self.0.get_template(NAME)?;
        template.render(context! { messages => Serde(messages), add_generation_prompt => true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Result<String, Error> {
        let messages = json!([
            {"role": "system", "content": " Be kind. "},
            {"role": "user", "content": "Hello <you> & all."},
        ]);
        ChatTemplate::new(text.to_owned())?.render(&messages)
    }

    #[test]
    fn templates_are_those_of_hugging_face() {
        for (template, expected) in [
            (
                "{{ bos_token }}{% for message in messages %}\n    {% if message['role'] == 'user' %}\n\
                 User: {{ message.content.strip() }}\n    {% endif %}\n{% endfor %}\n\
                 {% if add_generation_prompt %}\nStory:{% endif %}",
                "User: Hello <you> & all.\nStory:",
            ),
            (
                "{%- for message in messages -%}{{ message.role | upper }}:{{ message.content | trim }}\
                 {{- eos_token }}{%- if loop.first %}{% continue %}{% endif %};{% endfor -%}",
                "SYSTEM:Be kind.USER:Hello <you> & all.;",
            ),
            (
                "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}\
                 {{ ns.n }}{{ messages[-1].role }}{{ messages[0]['content'][1:3] }}",
                "2userBe",
            ),
        ] {
            assert_eq!(rendered(template).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn a_template_that_fails_says_why() {
        for (template, problem) in [
            ("{% if messages", "unexpected end of input"),
            ("{% generation %}", "unknown statement generation"),
            (
                "{{ raise_exception('roles must alternate') }}",
                "roles must alternate",
            ),
            ("{{ strftime_now('%d') }}", "strftime_now"),
            (
                "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}",
                "fuel",
            ),
            ("{{ 'x' * 1000000000 }}", "fuel"),
        ] {
            let error = rendered(template).unwrap_err().to_string();
            assert!(error.contains(problem), "{template}: {error}");
        }
    }
}
