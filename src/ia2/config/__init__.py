"""Every knob, once.

A field is named as its documented flag, its docstring is its help text, and the command line is generated from these
models. They are frozen and refuse unknown keys, so that what a run was made with can be written down and compared.
No torch here: `ia2 --help` must be instant.
"""

from ia2.config.base import CONTINUE_SAME as CONTINUE_SAME
from ia2.config.base import DEFAULT_MODEL_ID as DEFAULT_MODEL_ID
from ia2.config.base import EMBEDDED_MODEL as EMBEDDED_MODEL
from ia2.config.base import LARGEST as LARGEST
from ia2.config.base import Config as Config
from ia2.config.base import Control as Control
from ia2.config.base import DemoType as DemoType
from ia2.config.base import DeviceConfig as DeviceConfig
from ia2.config.base import Dtype as Dtype
from ia2.config.base import HpSelection as HpSelection
from ia2.config.base import ModelConfig as ModelConfig
from ia2.config.base import ModelId as ModelId
from ia2.config.base import PathPart as PathPart
from ia2.config.base import Protocol as Protocol
from ia2.config.base import StopRule as StopRule
from ia2.config.base import absolute_model_id as absolute_model_id
from ia2.config.base import is_path_part as is_path_part
from ia2.config.base import path_part as path_part
from ia2.config.data import CreateConfig as CreateConfig
from ia2.config.data import DemonstrationsConfig as DemonstrationsConfig
from ia2.config.data import LowDataConfig as LowDataConfig
from ia2.config.data import PrepareConfig as PrepareConfig
from ia2.config.data import TasksConfig as TasksConfig
from ia2.config.flags import FLAGS as FLAGS
from ia2.config.records import PlotAllConfig as PlotAllConfig
from ia2.config.records import PlotConfig as PlotConfig
from ia2.config.records import PlotSelection as PlotSelection
from ia2.config.records import PlotType as PlotType
from ia2.config.records import RecordsConfig as RecordsConfig
from ia2.config.records import ReparseConfig as ReparseConfig
from ia2.config.records import ReportConfig as ReportConfig
from ia2.config.records import ResultsConfig as ResultsConfig
from ia2.config.records import TablesConfig as TablesConfig
from ia2.config.runs import AskingConfig as AskingConfig
from ia2.config.runs import EvaluateConfig as EvaluateConfig
from ia2.config.runs import SelectionConfig as SelectionConfig
from ia2.config.runs import SimilarityConfig as SimilarityConfig
from ia2.config.runs import SubspaceConfig as SubspaceConfig
from ia2.config.sweep import CleanConfig as CleanConfig
from ia2.config.sweep import RunConfig as RunConfig
from ia2.config.sweep import StatusConfig as StatusConfig
from ia2.config.sweep import SweepConfig as SweepConfig
from ia2.config.training import LOW_DATA_FIELDS as LOW_DATA_FIELDS
from ia2.config.training import METHOD_FIELDS as METHOD_FIELDS
from ia2.config.training import SPLIT_FIELDS as SPLIT_FIELDS
from ia2.config.training import StoredRun as StoredRun
from ia2.config.training import TrainConfig as TrainConfig
from ia2.config.training import TrainingOptions as TrainingOptions
from ia2.config.training import as_stored as as_stored
from ia2.config.training import check_letters as check_letters
from ia2.config.using import DemoConfig as DemoConfig
from ia2.config.using import FitConfig as FitConfig
from ia2.config.using import MergeConfig as MergeConfig
from ia2.config.using import PredictConfig as PredictConfig
from ia2.methods import LabelType as LabelType
