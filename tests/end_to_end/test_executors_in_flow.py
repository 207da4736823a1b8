"""The third reference document, nearly verbatim: Executors inside a Flow, each sample a script of its own."""

from __future__ import annotations

import re

SPECIAL_ARGUMENTS = '''
from zflow import Executor, requests, Flow


class MyExecutor(Executor):
    def __init__(self, parameter_1, parameter_2, **kwargs):
        super().__init__(**kwargs)
        self.parameter_1 = parameter_1
        self.parameter_2 = parameter_2
        print(
            f' \\nparameter_1: {parameter_1}\\nparameter_2: {parameter_2}'
            f'\\nmetas: {self.metas}\\nrequests: {self.requests}'
        )

    @requests(on='/default')
    def default_fn(self, **kwargs):
        pass

    @requests
    def foo(self, **kwargs):
        pass

    @requests
    def bar(self, **kwargs):
        pass


exec_yaml = """ \njtype: MyExecutor
with:
  parameter_1: static_parameter_1
  parameter_2: static_parameter_2
metas:
  name: MyExecutor
  description: "MyExecutor does a thing to the stuff in your Documents"
  workspace: workspace
requests:
  /index: default_fn
  /search: default_fn
"""

flow1 = Flow().add(uses=exec_yaml)

print(f'\\nStarting Flow with default Executor parameters')
with flow1:
    pass

flow2 = Flow().add(
    uses=exec_yaml,
    uses_with={
        'parameter_1': 'overriden_parameter_1',
        'parameter_2': 'overriden_parameter_2',
    },
    uses_metas={'name': 'Dynamic Name', 'workspace': 'overriden_worskpace'},
    uses_requests={'/index': 'foo', '/search': 'bar'},
)

print(f'\\nStarting Flow with overriden Executor parameters')
with flow2:
    pass
'''


def shown(output: str, start: str) -> dict[str, object]:
    """One printed block of the sample as values."""
    block = output.split(start)[1].split("Starting Flow")[0]
    parameters = dict(re.findall(r"^(parameter_\d): (.*)$", block, re.MULTILINE))
    metas = set(re.findall(r"(\w+='[^']*')", re.search(r"^metas: namespace\((.*)\)$", block, re.MULTILINE)[1]))
    requests = dict(re.findall(r"'(/\w+)': <function MyExecutor\.(\w+) at", block.split("requests: ")[1].split("}")[0]))
    return {"parameters": parameters, "metas": metas, "requests": requests}


def test_static_and_overridden_arguments(run_script) -> None:
    output = run_script(SPECIAL_ARGUMENTS).stdout
    assert shown(output, "default Executor parameters") == {
        "parameters": {"parameter_1": "static_parameter_1", "parameter_2": "static_parameter_2"},
        "metas": {
            "description='MyExecutor does a thing to the stuff in your Documents'",
            "name='MyExecutor'",
            "py_modules=''",
            "workspace='workspace'",
        },
        "requests": {"/default": "bar", "/index": "default_fn", "/search": "default_fn"},
    }
    assert shown(output, "overriden Executor parameters") == {
        "parameters": {"parameter_1": "overriden_parameter_1", "parameter_2": "overriden_parameter_2"},
        "metas": {
            "description='MyExecutor does a thing to the stuff in your Documents'",
            "name='Dynamic Name'",
            "py_modules=''",
            "workspace='overriden_worskpace'",
        },
        "requests": {"/index": "foo", "/search": "bar"},
    }


def test_start_up_shows_what_it_waits_for_and_where_it_is_reached(run_script) -> None:
    told = run_script(SPECIAL_ARGUMENTS).stderr
    assert "0/2 waiting executor0 gateway to be ready..." in told
    assert re.search(r"Flow@\d+\[I\]:.* Flow is ready to use!", told)
    for line in ("Protocol:", "Local access:", "Private network:", "Public address:"):
        assert line in told


PARAMETERS = """
from zflow import requests, Executor, Flow


class MyExec(Executor):
    def __init__(self, parameter=20, **kwargs):
        super().__init__(**kwargs)
        self.parameter = parameter

    @requests(on='/status')
    def status(self, **kwargs):
        return {'internal_parameter': self.parameter}

    @requests(on='/index')
    def search(self, parameters, **kwargs):
        print(f'Searching with top_k {parameters["top_k"]}')
        pass


f = Flow().add(uses=MyExec, name='my_executor')


def print_response_parameters(resp):
    print(f' {resp.to_dict()["parameters"]}')


with f:
    f.post(on='/index', parameters={'top_k': 10}, inputs=[])
    f.post(on='/status', inputs=[], on_done=print_response_parameters)
"""


def test_parameters_in_and_results_out(run_script) -> None:
    assert run_script(PARAMETERS).stdout.splitlines() == [
        "Searching with top_k 10",
        " {'__results__': {'my_executor/rep-0': {'internal_parameter': 20}}}",
    ]


ERRORS = """
from zflow import Executor, requests, Flow


class MyExecutor(Executor):
    @requests
    def foo(self, **kwargs):
        raise NotImplementedError('no time for it')


f = Flow({options}).add(uses=MyExecutor)


def print_why(resp, exception):
    print(resp.status.description)


with f:
    f.post('', on_error=print_why)
    f.post('', on_error=print_why)
"""


def test_an_exception_reaches_on_error_and_the_log_and_the_flow_goes_on(run_script) -> None:
    done = run_script(ERRORS.format(options=""))
    assert done.stdout.splitlines() == ["NotImplementedError('no time for it')"] * 2
    log = re.search(
        r"executor0/rep-0@\d+\[E\]:NotImplementedError\('no time for it'\)\n"
        r' add "--quiet-error" to suppress the exception details\n'
        r"Traceback \(most recent call last\):\n(?:.*\n)*?"
        r"    raise NotImplementedError\('no time for it'\)\n(?:.*\n)?"
        r"NotImplementedError: no time for it\n",
        done.stderr,
    )
    assert log, done.stderr


def test_quiet_error_leaves_the_traceback_out(run_script) -> None:
    told = run_script(ERRORS.format(options="quiet_error=True")).stderr
    assert re.search(r"executor0/rep-0@\d+\[E\]:NotImplementedError\('no time for it'\)\n", told)
    assert "Traceback" not in told and "quiet-error" not in told


CLOSING = """
from zflow import Document, DocumentArray
from zflow import Flow, Executor, requests


class MyExec(Executor):
    @requests
    def foo(self, docs, **kwargs):
        for doc in docs:
            print(doc.text)

    def close(self):
        print("closing...")


print('Using MyExec as a context manager')
with MyExec() as executor:
    executor.foo(DocumentArray([Document(text='hello world')]))

f = Flow().add(uses=MyExec)

print('Using MyExec in the Flow')
with f:
    f.post(inputs=DocumentArray([Document(text='hello world')]))
"""


def test_close_runs_in_both_uses(run_script) -> None:
    assert run_script(CLOSING).stdout.splitlines() == [
        "Using MyExec as a context manager",
        "hello world",
        "closing...",
        "Using MyExec in the Flow",
        "hello world",
        "closing...",
    ]


MERGING = """
from zflow import Document, DocumentArray
from zflow import Flow, Executor, requests


class Exec1(Executor):
    @requests
    def foo(self, docs, **kwargs):
        for doc in docs:
            doc.text = 'Exec1'


class Exec2(Executor):
    @requests
    def foo(self, docs, **kwargs):
        for doc in docs:
            doc.text = 'Exec2'


class MergeExec(Executor):
    @requests
    def foo(self, docs_matrix, **kwargs):
        documents_to_return = DocumentArray()
        for doc1, doc2 in zip(*docs_matrix):
            print(
                f'MergeExec processing pairs of Documents "{doc1.text}" and "{doc2.text}"'
            )
            documents_to_return.append(
                Document(text=f'Document merging from "{doc1.text}" and "{doc2.text}"')
            )
        return documents_to_return


f = (
    Flow()
    .add(uses=Exec1, name='exec1')
    .add(uses=Exec2, name='exec2')
    .add(uses=MergeExec, needs=['exec1', 'exec2'])
)

with f:
    returned_docs = f.post(on='/', inputs=DocumentArray.empty(1))

print(f'Resulting documents {returned_docs[0].text}')
"""


def test_a_join_sees_each_branch_in_the_order_of_needs(run_script) -> None:
    assert run_script(MERGING).stdout.splitlines() == [
        'MergeExec processing pairs of Documents "Exec1" and "Exec2"',
        'Resulting documents Document merging from "Exec1" and "Exec2"',
    ]


NO_KWARGS = """
from zflow import Executor

class MyExecutor(Executor):
    def __init__(self, foo):
        super().__init__()
"""


def test_an_init_without_kwargs_is_a_clear_type_error(run_script) -> None:
    done = run_script(NO_KWARGS, check=False)
    assert done.returncode == 1
    assert re.search(r"TypeError: MyExecutor\.__init__ must take \*\*kwargs", done.stderr)


WITH_YAML = """
import sys
from zflow import Executor, Flow, requests


class MyExecutor(Executor):
    def __init__(self, foo, bar, **kwargs):
        super().__init__(**kwargs)
        self.foo = foo
        self.bar = bar

    @requests
    def tell(self, **kwargs):
        return {'foo': self.foo, 'bar': self.bar, 'name': self.runtime_args.name, 'workspace': self.workspace}


f = Flow(workspace='the-workspace').add(uses='my-exec.yml', uses_with={'bar': 2})

with f:
    print(f.post('/', return_responses=True)[0].results)
"""


def test_arguments_from_yaml_with_one_overridden_and_the_flows_workspace(run_script, tmp_path) -> None:
    (tmp_path / "my-exec.yml").write_text("jtype: MyExecutor\nwith:\n  foo: hello\n  bar: 1\n")
    results = eval(run_script(WITH_YAML).stdout)  # printed by our own script
    told = results["executor0/rep-0"]
    assert (told["foo"], told["bar"], told["name"]) == ("hello", 2, "executor0/rep-0")
    assert told["workspace"] == str(tmp_path / "the-workspace" / "MyExecutor" / "0")
    assert (tmp_path / "the-workspace" / "MyExecutor" / "0").is_dir()
