from corelm.scaling.dependencies import Dependencies as Dependencies
from corelm.scaling.executor import Executor as Executor
from corelm.scaling.job import Unit as Unit
from corelm.scaling.job import differences as differences
