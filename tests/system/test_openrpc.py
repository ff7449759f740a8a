"""The OpenRPC document before the specification's own judge."""

import json

from tests.system.clients import request
from tests.system.programs import run_node
from tests.system.served import ServedCase

VALIDATE = """
const { validateOpenRPCDocument, dereferenceDocument } = require("@open-rpc/schema-utils-js");
const document = JSON.parse(process.argv[2]);
const outcome = validateOpenRPCDocument(document);
if (outcome !== true) { console.error(outcome.message); process.exit(1); }
dereferenceDocument(document).then((whole) => console.log(whole.methods.length), (error) => { console.error(error); process.exit(1); });
"""


class OpenRpcTests(ServedCase):
    """`/openrpc.json`."""

    settings = "[rpc]\nmodules = netsvc.examples.arithmetic\n"

    def test_the_meta_schema(self) -> None:
        """It is valid by the OpenRPC meta-schema, and every reference in it leads somewhere."""
        document = request(f"{self.url}/openrpc.json").json()
        printed = run_node(VALIDATE, "@open-rpc/schema-utils-js@2.1.2", json.dumps(document))
        self.assertEqual(int(printed), len(document["methods"]))
