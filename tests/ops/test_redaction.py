"""Promises of netsvc.ops.redaction."""

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.credentials import new_token_secret
from netsvc.ops.redaction import redact, secret_name

SECRET = "hunter2-Zm9vYmFy.x_y~z"

TEMPLATES = (
    "GET /ws?token={}&name=ann HTTP/1.1",
    "Authorization: Bearer {}",
    "authorization: basic {}",
    "[(b'authorization', b'Bearer {}')]",
    "[(b'host', b'x'), (b'cookie', b'netsvc={}')]",
    "Cookie: theme=dark; netsvc={}",
    "Set-Cookie: netsvc={}; HttpOnly",
    '{{"name": "ann", "password": "{}"}}',
    '{{"password":"{} with spaces"}}',
    "Login(name='ann', password='{}')",
    "password={}",
    "X-Api-Token: {}",
    'text = "{{\\"token\\":\\"{}\\"}}"',
    "client_secret={};",
    "Bearer {}",
)


class RedactionTests(SynchronousTestCase):
    """Nothing that looks like a secret passes."""

    def test_shapes(self) -> None:
        """A secret in any of the shapes in which protocols and Python show one is replaced, and the rest stays."""
        for template in TEMPLATES:
            line = template.format(SECRET)
            self.assertNotIn("hunter2", redact(line), line)
            self.assertIn("***", redact(line))
        self.assertEqual(redact("GET /ws?token=abc&name=ann HTTP/1.1"), "GET /ws?token=***&name=ann HTTP/1.1")

    def test_quotes_in_secrets(self) -> None:
        """A quote that belongs to the secret does not end it: neither in JSON, nor as Python shows it, nor in JSON inside of other text."""
        secret = 'open "hunter2" \\ \'hunter2\' \n hunter2'
        for line in (json.dumps({"password": secret, "n": 1}), repr({"password": secret}), repr({"token": secret.encode()}), f"password={secret.encode()!r}"):
            self.assertNotIn("hunter2", redact(line), line)
        self.assertEqual(redact(json.dumps({"password": secret, "n": 1})), '{"password": ***, "n": 1}')
        self.assertNotIn("hunter2", redact(json.dumps({"text": json.dumps({"token": secret})})))

    def test_tokens_of_ours(self) -> None:
        """A token is known by its beginning, wherever it stands."""
        self.assertEqual(redact(f"no such user: {new_token_secret()}!"), "no such user: ***!")

    def test_ordinary_text_is_left(self) -> None:
        """Text without secrets is unchanged."""
        for line in ("GET /chat/lobby/ 200 1.2 ms", "netsvc serves http://127.0.0.1:8080/", "3 tokens expired", "the session ended", "basic"):
            self.assertEqual(redact(line), line)

    @given(st.text(alphabet=st.characters(blacklist_categories=["Cs", "Z", "C"], blacklist_characters="\"',;&)}]\\"), min_size=6))
    def test_any_secret(self, secret: str) -> None:
        """Whatever the characters of a token are, it does not pass."""
        self.assertEqual(redact(f"token={secret} end"), "token=*** end")

    def test_names(self) -> None:
        """Fields that hold secrets are known by their names."""
        self.assertTrue(all(map(secret_name, ("token", "Password", "session_id", "set-cookie"))))
        self.assertFalse(any(map(secret_name, ("room", "peer", "identity", "request_id", "duration"))))
